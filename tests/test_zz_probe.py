import sys; sys.path.insert(0,'/work/main/tests')
from m3ae_runs import *
import pathlib
def test_p(phantom_store, tmp_path):
    f, n = m3ae_run(phantom_store, tmp_path)
    import subprocess
    print(subprocess.run(f"find {f} -type f | sort; cat {f}/metrics.jsonl; head -2 {f}/losses.jsonl; cat {f}/results.json | head -80; cat {f}/examples/*; cat {f}/models/model.json; cat {f}/log.txt", shell=True, capture_output=True, text=True).stdout)
