"""Every plugin gets its state by itself: what is wrong with one is said and hurts no other."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from fake_distributions import GOOD, Environment, claimants

from ganvae_core.plugins import KnownPlugin, discover, installed_plugins
from ganvae_core.plugins.known import Registry

HEAD = "from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl\nganvae_api = 1\n"


def reserve(name: str, distribution: str) -> Registry:
    known = KnownPlugin(name, distribution, "", "", f"pip install {distribution}", (), ())
    return Registry(plugins={name: known})


def test_a_good_plugin_is_ready_with_all_that_is_known_of_it(environment: Environment) -> None:
    environment.plugin("acme")
    plugin = environment.found("acme")
    assert (plugin.state, plugin.reason, plugin.traceback) == ("ready", "", "")
    assert (plugin.distribution, plugin.version, plugin.api) == ("x-acme", "1.0", 1)
    assert (plugin.entry_point, plugin.package) == ("x_acme.plugin", "x_acme")
    assert [component.name for component in plugin.components] == ["flat"]


def test_describing_a_plugin_imports_no_component(environment: Environment) -> None:
    environment.plugin("acme")
    environment.write("x_acme/parts.py", "raise RuntimeError('imported')")
    assert environment.found("acme").ready
    assert "x_acme.parts" not in sys.modules


def test_one_distribution_may_hold_several_plugins(environment: Environment) -> None:
    environment.plugin("one")
    environment.plugin("two")
    environment.distribution("x-one", "[ganvae]\none = x_one.plugin\ntwo-b = x_two.plugin\n")
    assert environment.found("one").ready
    assert environment.found("two-b").distribution == "x-one"


@pytest.mark.parametrize("way", ["argument", "variable"])
def test_a_disabled_plugin_is_never_imported(
    way: str, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.plugin("acme")
    environment.plugin("other")
    if way == "variable":
        monkeypatch.setenv("GANVAE_DISABLE_PLUGINS", "acme, nonesuch,")
    plugin = environment.found("acme", disabled=["acme"] if way == "argument" else [])
    assert plugin.state == "disabled"
    assert "--disable-plugin" in plugin.reason
    assert "x_acme.plugin" not in sys.modules
    assert environment.found("other").ready


@pytest.mark.parametrize("api", [0, 2])
def test_another_api_is_incompatible(api: int, environment: Environment) -> None:
    environment.plugin("acme", GOOD.replace("ganvae_api = 1", f"ganvae_api = {api}"))
    plugin = environment.found("acme")
    assert (plugin.state, plugin.api, plugin.components) == ("incompatible", api, ())
    assert plugin.reason == f"written for core API {api}, this is 1"


BROKEN = {
    "import error": ("import nonesuch", ["ModuleNotFoundError", "nonesuch"]),
    "syntax error": ("def broken(:", ["SyntaxError"]),
    "exits": ("import sys; sys.exit('no licence')", ["SystemExit: no licence"]),
    "many lines": ("raise ValueError('one\\ntwo')", ["ValueError: one two"]),
    "no api": ("", ["x_acme.plugin", "ganvae_api is None"]),
    "text as api": ("ganvae_api = '1'", ["'1'", "whole number"]),
    "true as api": ("ganvae_api = True", ["True", "whole number"]),
    "unmarked hook": (HEAD + "def ganvae_components(): return []", ["ganvae_components", "@hookimpl"]),
    "unmarked misspelt hook": (
        HEAD + "def ganvae_component(): return []",
        ["no hook ganvae_component.", "Did you mean 'ganvae_components'?"],
    ),
    "marked misspelt hook": (
        HEAD + "@hookimpl\ndef ganvae_recipies(): return []",
        ["no hook ganvae_recipies.", "Did you mean 'ganvae_recipes'?"],
    ),
    "marked foreign hook": (HEAD + "@hookimpl\ndef components(): return []", ["no hook components."]),
    "wrong signature": (
        HEAD + "@hookimpl\ndef ganvae_components(config): return []",
        ["ganvae_components", "config"],
    ),
    "hook raises": (
        HEAD + "@hookimpl\ndef ganvae_recipes(): raise KeyError('x')",
        ["ganvae_recipes: KeyError: 'x'"],
    ),
    "hook exits": (HEAD + "@hookimpl\ndef ganvae_recipes(): raise SystemExit(3)", ["SystemExit: 3"]),
    "hook returns nothing": (
        HEAD + "@hookimpl\ndef ganvae_components(): pass",
        ["ganvae_components returned None"],
    ),
    "hook returns a dict": (
        HEAD + "@hookimpl\ndef ganvae_components(): return {}",
        ["returned dict", "ComponentSpec"],
    ),
    "hook returns text": (
        HEAD + "@hookimpl\ndef ganvae_components(): return ['mlp']",
        ["ganvae_components", "'mlp'", "not a ComponentSpec"],
    ),
    "hook returns the other spec": (
        HEAD + "@hookimpl\ndef ganvae_recipes(): return [ComponentSpec('prior', 'a', 'a:B', 'c')]",
        ["ganvae_recipes", "not a RecipeSpec"],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_module_is_reported_and_the_others_stay_ready(case: str, environment: Environment) -> None:
    module, expected = BROKEN[case]
    environment.plugin("acme", module)
    environment.plugin("aaa")
    environment.plugin("zzz")
    plugin = environment.found("acme")
    assert (plugin.state, plugin.components, plugin.recipes) == ("broken", (), ())
    assert "\n" not in plugin.reason
    for part in expected:
        assert part in plugin.reason
    assert environment.found("aaa").ready
    assert environment.found("zzz").ready


COMPONENTS = {
    "('priors', 'a', 'a:B', 'c')": "Did you mean 'prior'?",
    "('prior', 'Flat', 'a:B', 'c')": "'Flat'",
    "('prior', 'a_b', 'a:B', 'c')": "'a_b'",
    "('prior', 'a--b', 'a:B', 'c')": "'a--b'",
    "('prior', '', 'a:B', 'c')": "''",
    "('prior', None, 'a:B', 'c')": "None",
    "('prior', 'a', 'a.B', 'c')": "package.module:Name",
    "('prior', 'a', 'a:B.c', 'c')": "package.module:Name",
    "('prior', 'a', int, 'c')": "package.module:Name",
    "('prior', 'a', 'a:B', '')": "summary",
    "('prior', 'a', 'a:B', 'c\\nd')": "summary",
    "('source', 'a', 'a:B', 'c', '*.csv')": "tuple of patterns",
}


@pytest.mark.parametrize("arguments", COMPONENTS)
def test_a_wrong_component_breaks_its_plugin(arguments: str, environment: Environment) -> None:
    environment.plugin(
        "acme", HEAD + f"@hookimpl\ndef ganvae_components(): return [ComponentSpec{arguments}]"
    )
    plugin = environment.found("acme")
    assert plugin.state == "broken"
    assert COMPONENTS[arguments] in plugin.reason


def test_a_name_is_unique_within_its_kind_only(environment: Environment) -> None:
    spec = "ComponentSpec('{}', 'a', 'a:B', 'c')"
    body = HEAD + "@hookimpl\ndef ganvae_components(): return [{}, {}]"
    environment.plugin("twice", body.format(spec.format("prior"), spec.format("prior")))
    environment.plugin("once", body.format(spec.format("prior"), spec.format("critic")))
    assert environment.found("twice").reason == "prior 'a' is given twice"
    assert environment.found("once").ready


RECIPES = {
    "('Vae', 'recipes/a.yaml', 'c')": "'Vae'",
    "('a', 'recipes/b.yaml', 'c')": "no file recipes/b.yaml",
    "('a', 'recipes', 'c')": "no file recipes",
    "('a', '', 'c')": "no file",
    "('a', None, 'c')": "no file None",
    "('a', 'recipes/a.yaml', None)": "summary",
}


@pytest.mark.parametrize("arguments", RECIPES)
def test_a_wrong_recipe_breaks_its_plugin(arguments: str, environment: Environment) -> None:
    environment.write("x_acme/recipes/a.yaml", "# a recipe")
    environment.plugin("acme", HEAD + f"@hookimpl\ndef ganvae_recipes(): return [RecipeSpec{arguments}]")
    plugin = environment.found("acme")
    assert plugin.state == "broken"
    assert RECIPES[arguments] in plugin.reason


def test_a_single_module_cannot_ship_recipes(environment: Environment) -> None:
    environment.write(
        "x_alone.py", HEAD + "@hookimpl\ndef ganvae_recipes(): return [RecipeSpec('a', 'a.yaml', 'c')]"
    )
    environment.write("a.yaml", "")
    environment.distribution("x-alone", "[ganvae]\nalone = x_alone\n")
    assert "only a package" in environment.found("alone").reason


@pytest.mark.parametrize(
    "value", ["x_acme.plugin:thing", "x_acme.plugin [extra]", "x acme", "x_acme..plugin"]
)
def test_an_entry_point_that_is_no_module_is_broken(value: str, environment: Environment) -> None:
    environment.plugin("acme")
    environment.distribution("x-acme", f"[ganvae]\nacme = {value}\n")
    plugin = environment.found("acme")
    assert plugin.state == "broken"
    assert value in plugin.reason


def test_a_plugin_with_a_bad_name_is_broken(environment: Environment) -> None:
    environment.plugin("acme")
    environment.distribution("x-acme", "[ganvae]\nAcme_GAN = x_acme.plugin\n")
    assert "'Acme_GAN'" in environment.found("Acme_GAN").reason


def test_the_traceback_leads_to_the_plugin_s_own_line(environment: Environment) -> None:
    environment.plugin("acme", "import nonesuch")
    environment.plugin("hook", HEAD + "@hookimpl\ndef ganvae_recipes(): raise KeyError('x')")
    for name in ("acme", "hook"):
        assert f"x_{name}/plugin.py" in environment.found(name).traceback.replace("\\", "/")


def test_an_interrupt_while_a_plugin_is_imported_is_not_swallowed(environment: Environment) -> None:
    environment.plugin("acme", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover()


def test_what_a_plugin_prints_stays_out_of_standard_output(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.plugin("acme", "print('hello')\n" + GOOD)
    assert environment.found("acme").ready
    assert capsys.readouterr().out == ""


MALFORMED = {
    "no equals sign": ("[ganvae]\nthis is no entry point\n", None),
    "no name": ("[ganvae]\nacme = x_acme.plugin\n", "Metadata-Version: 2.1\nVersion: 1.0\n"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_an_unreadable_distribution_is_reported_and_hurts_nobody(case: str, environment: Environment) -> None:
    entry_points, metadata = MALFORMED[case]
    environment.plugin("good")
    environment.distribution("x-odd", entry_points, metadata=metadata)
    catalogue = discover()
    assert [plugin.state for plugin in claimants(catalogue, "good")] == ["ready"]
    [line] = [line for line in catalogue.unreadable if "x_odd" in line]
    assert "Error" in line


def test_malformed_entry_points_of_other_groups_are_nobody_s_concern(environment: Environment) -> None:
    environment.plugin("good")
    environment.distribution("x-odd", "[console_scripts]\nthis is no entry point\n")
    catalogue = discover()
    assert claimants(catalogue, "good")[0].ready
    assert catalogue.unreadable == ()


def test_an_entry_points_file_that_is_not_text_hurts_nobody(environment: Environment) -> None:
    environment.plugin("good")
    environment.distribution("x-odd", "")
    (environment.folder / "x_odd-1.0.dist-info/entry_points.txt").write_bytes(b"[ganvae]\n\xff\xfe = x\n")
    assert environment.found("good").ready


@pytest.mark.parametrize("has_plugin", [True, False])
def test_of_two_copies_of_a_distribution_the_first_on_the_path_counts(
    has_plugin: bool, new_environment: Callable[[], Environment]
) -> None:
    new_environment().plugin("acme")
    first = new_environment()
    first.distribution("X_Acme", "[ganvae]\nacme = x_acme.plugin\n" if has_plugin else "", version="2.0")
    versions = [plugin.version for plugin in claimants(discover(), "acme")]
    assert versions == (["2.0"] if has_plugin else [])


def test_a_name_that_is_claimed_twice_is_a_conflict_for_both(environment: Environment) -> None:
    environment.plugin("acme")
    environment.distribution("x-rival", "[ganvae]\nacme = x_acme.plugin\n", version="3.1")
    both = claimants(discover(), "acme")
    assert [plugin.state for plugin in both] == ["conflict", "conflict"]
    for plugin in both:
        assert "x-acme 1.0" in plugin.reason
        assert "x-rival 3.1" in plugin.reason
    assert "x_acme.plugin" not in sys.modules


def test_a_name_that_one_distribution_claims_twice_is_a_conflict(environment: Environment) -> None:
    environment.plugin("acme")
    environment.distribution("x-acme", "[ganvae]\nacme = x_acme.plugin\nacme = x_acme.other\n")
    states = [plugin.state for plugin in claimants(discover(user=reserve("acme", "x-acme")), "acme")]
    assert states == ["conflict", "conflict"]


def test_a_reserved_name_stays_its_owner_s(environment: Environment) -> None:
    environment.plugin("acme")
    environment.distribution("x-rival", "[ganvae]\nacme = x_rival.plugin\n")
    found = claimants(discover(user=reserve("acme", "X.Acme")), "acme")
    assert {plugin.distribution: plugin.state for plugin in found} == {
        "x-acme": "ready",
        "x-rival": "conflict",
    }
    [rival] = [plugin for plugin in found if not plugin.ready]
    assert "reserved for X.Acme" in rival.reason


def test_a_first_party_name_cannot_be_taken(environment: Environment) -> None:
    environment.distribution("x-thief", "[ganvae]\nvae = x_thief.plugin\n")
    states = {plugin.distribution: plugin.state for plugin in claimants(discover(), "vae")}
    assert states == {"ganvae": "ready", "x-thief": "conflict"}


def test_disabling_a_name_disables_all_who_claim_it(environment: Environment) -> None:
    environment.plugin("acme")
    environment.distribution("x-rival", "[ganvae]\nacme = x_acme.plugin\n")
    assert {plugin.state for plugin in claimants(discover(["acme"]), "acme")} == {"disabled"}


def test_plugins_come_sorted_by_name_whatever_the_path(environment: Environment) -> None:
    for name in ("zebra", "acme", "middle"):
        environment.plugin(name)
    names = [plugin.name for plugin in discover().plugins]
    assert names == sorted(names)
    assert {"zebra", "acme", "middle"} <= set(names)


def test_a_hook_of_a_newer_core_is_allowed_when_marked_optional(environment: Environment) -> None:
    environment.plugin("acme", GOOD + "\n@hookimpl(optionalhook=True)\ndef ganvae_later(): return []")
    assert environment.found("acme").ready


def test_a_module_named_like_a_hook_is_no_hook(environment: Environment) -> None:
    environment.write("ganvae_helpers.py", "")
    environment.plugin("acme", "import ganvae_helpers\n" + GOOD)
    assert environment.found("acme").ready


def test_a_process_looks_for_plugins_once() -> None:
    assert installed_plugins() is installed_plugins()
    assert installed_plugins(frozenset({"vae"})).find("vae").state == "disabled"


def test_a_folder_whose_name_has_a_hyphen_hides_no_other_distribution(environment: Environment) -> None:
    """Python finds ``ganvae-extra-0.1.dist-info`` also where it looks for ``ganvae``."""
    environment.write(
        "ganvae-extra-0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: ganvae-extra\nVersion: 0.1\n"
    )
    environment.write("ganvae-extra-0.1.dist-info/entry_points.txt", "[ganvae]\nextra = x_extra\n")
    environment.write("x_extra.py", HEAD)
    found = discover()
    assert found.find("vae").ready
    assert found.find("extra").distribution == "ganvae-extra"
