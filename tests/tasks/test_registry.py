"""`Registry`: objects of Gradus and of installed packages by name."""

import importlib
import sys

import pytest

from tasks.core.registry import Origin, Registry, RegistryError, instance_of

GROUP = "gradus.test_numbers"


def registry(**builtin):
    return Registry(GROUP, "number", builtin, instance_of(int))


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make a distribution with entry points of `GROUP`: name to the text of a module that has `VALUE`."""

    def make(distribution, version, **modules):
        site = tmp_path / distribution
        info = site / f"{distribution}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"[{GROUP}]"]
        for name, text in modules.items():
            module = f"{distribution}_{name}"
            (site / f"{module}.py").write_text(text)
            lines.append(f"{name} = {module}:VALUE")
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()

    return make


def test_names_stand_in_order_and_nothing_is_imported_to_list_them(install):
    install("outside", "1.2", zwei="VALUE = 2", eins="VALUE = 1")
    numbers = registry(seven=7, four=4)
    numbers.register("five", 5)
    assert numbers.names() == ["seven", "four", "five", "eins", "zwei"]
    assert numbers.builtin_names() == ["seven", "four"]
    assert "outside_eins" not in sys.modules
    assert numbers.get("eins") == 1
    assert "outside_eins" in sys.modules
    assert "outside_zwei" not in sys.modules


def test_a_built_in_object_can_be_named_instead_of_imported():
    numbers = registry(top="sys:maxsize")
    assert numbers.get("top") == sys.maxsize
    assert "top" in numbers
    assert "bottom" not in numbers
    with pytest.raises(KeyError):
        numbers.get("bottom")
    with pytest.raises(KeyError):
        numbers.origin("bottom")


def test_origin_is_the_distribution(install):
    install("outside", "1.2", eins="VALUE = 1")
    numbers = registry(seven=7)
    numbers.register("five", 5)
    assert numbers.origin("seven") is None
    assert numbers.origin("eins") == Origin("outside", "1.2")
    assert str(numbers.origin("eins")) == "outside 1.2"
    assert str(numbers.origin("five")) == "unpackaged"


def test_a_name_of_gradus_is_refused_from_a_package(install):
    install("outside", "1.2", seven="VALUE = 1")
    with pytest.raises(RegistryError, match=r"^number 'seven' of outside 1\.2 is there already, from Gradus; un"):
        registry(seven=7).names()
    with pytest.raises(RegistryError):
        registry(seven=7).get("seven")


def test_a_name_of_two_packages_is_refused(install):
    install("first", "1.0", eins="VALUE = 1")
    install("second", "2.0", eins="VALUE = 1")
    with pytest.raises(RegistryError, match=r"'eins' of (first 1\.0|second 2\.0) .* from (first 1\.0|second 2\.0);"):
        registry().names()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_module", r"cannot be imported from outside_eins:VALUE: ModuleNotFoundError: No module"),
        ("1 / 0", r"cannot be imported from outside_eins:VALUE: ZeroDivisionError: division by zero"),
        ("raise ValueError('two\\nlines')", r"cannot be imported from outside_eins:VALUE: ValueError: two lines$"),
        ("OTHER = 1", r"cannot be imported from outside_eins:VALUE: AttributeError"),
        ("VALUE = 'one'", r"\(outside_eins:VALUE\) is a str, not a int"),
    ],
)
def test_a_package_that_is_broken_is_named_in_one_line(install, text, reason):
    install("outside", "1.2", eins=text)
    sys.modules.pop("outside_eins", None)
    numbers = registry(seven=7)
    assert numbers.get("seven") == 7
    with pytest.raises(RegistryError, match=f"^number 'eins' of outside 1\\.2 {reason}") as caught:
        numbers.get("eins")
    assert "\n" not in str(caught.value)


def test_register_refuses_what_is_taken_or_of_another_type(install):
    install("outside", "1.2", eins="VALUE = 1")
    numbers = registry(seven=7)
    for name, taken in (("seven", "from Gradus"), ("eins", r"from outside 1\.2")):
        with pytest.raises(RegistryError, match=taken):
            numbers.register(name, 3)
    with pytest.raises(RegistryError, match=r"^number 'three' is a str, not a int$"):
        numbers.register("three", "3")
    numbers.register("three", 3)
    numbers.unregister("three")
    assert numbers.names() == ["seven", "eins"]


def test_a_name_has_to_be_fit_for_a_path(install):
    with pytest.raises(RegistryError, match=r"^number '\.\./up' has no name that can be part of a path"):
        registry().register("../up", 3)
    install("outside", "1.2", **{"a+b": "VALUE = 1"})
    with pytest.raises(RegistryError, match=r"^number 'a\+b' of outside 1\.2 has no name"):
        registry().names()
