
def write_report(*a): return {}
def ask_questions(*a): return []
