"""One test for each variant, overlay or whatever else there is several of."""

import re


def each(**tables):
    """Turns a method `test(self, case)` into one test for each case of the one table given."""
    ((label, cases),) = tables.items()
    def mark(method):
        method.cases = list(cases)
        method.label = label
        return method
    return mark


def expanded(cls):
    """Puts the tests that `each` has marked into the class."""
    for name, method in list(vars(cls).items()):
        if hasattr(method, "cases"):
            delattr(cls, name)
            for case in method.cases:
                suffix = re.sub(r"\W+", "_", str(case))
                def test(self, method=method, case=case):
                    method(self, case)
                test.__name__ = f"{name}_{method.label}_{suffix}"
                setattr(cls, test.__name__, test)
    return cls
