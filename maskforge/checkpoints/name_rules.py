"""Renaming tensors by rules, in both directions."""
import re
from collections.abc import Iterable

#: (pattern that matches a whole name, template); ``{0}``, ``{1}`` ... are the pattern's groups
Rule = tuple[str, str]

#: COCO's 80 categories in order of label, by their ids of 1 .. 90: the rows that they have in heads of 91 rows
COCO_IDS = [i for i in range(1, 91) if i not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}]


def rename(name: str, rules: Iterable[Rule]) -> str:
    """Return the name by the first rule that fits; as it is where none does."""
    for pattern, template in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return template.format(*match.groups())
    return name


def inverse_rules(rules: Iterable[Rule]) -> list[Rule]:
    """Return the rules that lead back; templates use every group once, groups hold no groups."""
    return [_inverse(pattern, template) for pattern, template in rules]


def _inverse(pattern: str, template: str) -> Rule:
    groups = re.findall(r'\([^)]*\)', pattern)
    parts = re.split(r'\{(\d)\}', template)
    inverse = ''.join(groups[int(part)] if i % 2 else re.escape(part) for i, part in enumerate(parts))
    # the groups of the new pattern come in the template's order
    order = [int(part) for part in parts[1::2]]
    for index, group in enumerate(groups):
        pattern = pattern.replace(group, f'{{{order.index(index)}}}', 1)
    return inverse, pattern.replace('\\', '')
