"""Sentences of which the reports of phantoms are made.

Placeholders: `{side}`, `{zone}` and `{size}` (an adjective; `{degree}` is its adverb). Each sentence states one thing,
so that a report can be cut into sentences that are true by themselves.
"""

from __future__ import annotations

__all__ = [
    "BONES",
    "CLEAR_LUNGS",
    "CLEAR_SIDE",
    "CONCLUDED",
    "DEGREES",
    "ELSEWHERE",
    "HEALTHY",
    "INFLATED",
    "JOINT_NEGATIVES",
    "MEDIASTINUM",
    "NEGATIVES",
    "NOTHING_ELSE",
    "POORLY_INFLATED",
    "SIZE_WORDS",
    "STATED",
    "TAKEN",
    "VASCULARITY",
]

SIZE_WORDS = {
    "consolidation": {"small": "small", "moderate": "moderate", "large": "extensive"},
    "pleural effusion": {"small": "small", "moderate": "moderate", "large": "large"},
    "pneumothorax": {"small": "small", "moderate": "moderate", "large": "large"},
    "nodule": {"small": "small", "moderate": "medium-sized", "large": "large"},
    "cardiomegaly": {"small": "mild", "moderate": "moderate", "large": "marked"},
}
DEGREES = {"small": "mildly", "moderate": "moderately", "large": "markedly"}

STATED = {
    "consolidation": (
        "There is a consolidation in the {side} {zone} zone.",
        "There is {size} consolidation in the {side} {zone} zone.",
        "{size} consolidation is seen in the {side} {zone} lung zone.",
        "{size} patchy opacity in the {side} {zone} zone represents consolidation.",
        "The {side} {zone} zone shows {size} airspace consolidation.",
        "Hazy {size} consolidation projects over the {side} {zone} zone.",
        "{size} dense opacification of the {side} {zone} zone, in keeping with consolidation.",
    ),
    "pleural effusion": (
        "There is a {side} pleural effusion.",
        "There is a {size} {side} pleural effusion.",
        "{size} {side} pleural effusion blunts the costophrenic angle.",
        "A {size} pleural effusion is present on the {side}.",
        "The {side} costophrenic angle is obscured by a {size} pleural effusion.",
        "Fluid with a meniscus at the {side} base indicates a {size} pleural effusion.",
        "{size} amount of pleural fluid on the {side}, a {side} pleural effusion.",
    ),
    "pneumothorax": (
        "There is a {side} pneumothorax.",
        "There is a {size} {side} pneumothorax.",
        "{size} {side} pneumothorax with a visible pleural line.",
        "A {size} pneumothorax is present on the {side}.",
        "A thin pleural line along the {side} chest wall indicates a {size} pneumothorax.",
        "Lung markings stop short of the {side} apex, due to a {size} pneumothorax.",
        "{size} rim of air surrounds the {side} lung, compatible with pneumothorax.",
    ),
    "nodule": (
        "There is a nodule in the {side} {zone} zone.",
        "There is a {size} nodule in the {side} {zone} zone.",
        "A {size} round nodule projects over the {side} {zone} zone.",
        "{size} well-defined nodule in the {side} {zone} lung zone.",
        "The {side} {zone} zone contains a {size} rounded nodule.",
        "{size} circumscribed nodule within the {side} lung, {zone} zone.",
        "A {size} pulmonary nodule is seen in the {side} {zone} zone.",
    ),
    "cardiomegaly": (
        "There is cardiomegaly.",
        "There is {size} cardiomegaly.",
        "The heart is {degree} enlarged.",
        "The cardiac silhouette is {degree} enlarged.",
        "Heart size is {degree} increased.",
        "{size} enlargement of the heart.",
        "The cardiothoracic ratio is {degree} increased, consistent with cardiomegaly.",
    ),
}
"""What the section "findings" says of a finding that is present."""

NEGATIVES = {
    "consolidation": (
        "There is no consolidation.",
        "No focal consolidation.",
        "No airspace consolidation is seen.",
        "No evidence of consolidation.",
        "The lungs are free of consolidation.",
        "No confluent opacity to suggest consolidation.",
    ),
    "pleural effusion": (
        "There is no pleural effusion.",
        "No pleural effusion.",
        "No evidence of pleural effusion.",
        "No pleural effusion is demonstrated.",
        "The costophrenic angles are sharp.",
    ),
    "pneumothorax": (
        "There is no pneumothorax.",
        "No pneumothorax.",
        "No evidence of pneumothorax.",
        "No pneumothorax is identified.",
        "No visible pneumothorax.",
    ),
    "nodule": (
        "There is no nodule.",
        "No pulmonary nodule.",
        "No nodule is seen.",
        "No suspicious nodule is identified.",
        "Negative for pulmonary nodule.",
    ),
    "cardiomegaly": (
        "The heart is normal in size.",
        "Heart size is normal.",
        "There is no cardiomegaly.",
        "The cardiac silhouette is not enlarged.",
        "The heart is not enlarged.",
        "Normal cardiac size.",
    ),
}
"""What it says of a finding that is absent."""

JOINT_NEGATIVES = {
    ("pleural effusion", "pneumothorax"): (
        "There is no pleural effusion or pneumothorax.",
        "No pleural effusion or pneumothorax.",
        "Neither pleural effusion nor pneumothorax is seen.",
    ),
    ("consolidation", "pleural effusion", "pneumothorax"): (
        "No focal consolidation, pleural effusion, or pneumothorax.",
        "There is no consolidation, pleural effusion or pneumothorax.",
    ),
}

CLEAR_LUNGS = ("The lungs are clear.", "Both lungs are clear.", "Clear lungs bilaterally.", "Lungs appear clear.")
CLEAR_SIDE = ("The {side} lung is clear.", "{side} lung is clear.", "The {side} lung appears normal.")
INFLATED = ("The lungs are well inflated.", "Lung volumes are normal.", "Inspiration is adequate.")
POORLY_INFLATED = ("Lung volumes are low.", "The lungs are poorly inflated.", "There is a shallow inspiration.")
MEDIASTINUM = (
    "The mediastinal contours are normal.",
    "The mediastinum is not widened.",
    "Hilar contours are unremarkable.",
    "The trachea is midline.",
    "The aortic contour is within normal limits.",
)
BONES = (
    "The bony thorax is intact.",
    "No rib fracture is seen.",
    "The visualized osseous structures are unremarkable.",
    "No acute bony abnormality.",
    "Degenerative changes of the spine are absent.",
    "The clavicles and ribs appear intact.",
)
VASCULARITY = (
    "Pulmonary vascularity is normal.",
    "There is no vascular congestion.",
    "No interstitial edema is present.",
    "The pulmonary vessels are not distended.",
)
ELSEWHERE = (
    "No free air is seen beneath the diaphragm.",
    "The soft tissues are unremarkable.",
    "No support devices are present.",
    "No lines or tubes.",
    "The upper abdomen is unremarkable.",
)
TAKEN = (
    "{view} view of the chest.",
    "Single {view} chest radiograph.",
    "Frontal {view} projection.",
    "{view} image of the thorax was obtained.",
)

CONCLUDED = {
    "consolidation": (
        "{side} {zone} zone consolidation.",
        "{side} {zone} zone consolidation, which may represent pneumonia.",
        "{size} consolidation in the {side} {zone} zone, concerning for infection.",
        "Findings suggest pneumonia with {side} {zone} zone consolidation.",
    ),
    "pleural effusion": (
        "{side} pleural effusion.",
        "{size} {side} pleural effusion.",
        "{size} pleural effusion on the {side}.",
        "{size} {side} pleural effusion, of uncertain cause.",
    ),
    "pneumothorax": (
        "{side} pneumothorax.",
        "{size} {side} pneumothorax.",
        "{size} pneumothorax on the {side}, clinical correlation is advised.",
        "{size} {side} pneumothorax, urgent review is suggested.",
    ),
    "nodule": (
        "{side} {zone} zone nodule.",
        "{size} nodule in the {side} {zone} zone.",
        "{side} {zone} zone nodule, follow-up is recommended.",
        "Indeterminate {side} {zone} zone nodule, CT may be helpful for further characterization.",
    ),
    "cardiomegaly": (
        "Cardiomegaly.",
        "{size} cardiomegaly.",
        "{size} cardiomegaly, please correlate with the history.",
        "Enlarged heart, {size} cardiomegaly.",
    ),
}
"""What the section "impression" says of a finding that is present."""

NOTHING_ELSE = ("No other acute abnormality.", "Otherwise unremarkable examination.", "No further acute findings.")
HEALTHY = (
    "No acute cardiopulmonary abnormality.",
    "Normal chest radiograph.",
    "No acute findings.",
    "No evidence of acute cardiopulmonary disease.",
    "Unremarkable examination of the chest.",
    "Within normal limits.",
    "Negative study.",
)
