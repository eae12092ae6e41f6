"""The page in a real browser."""

import pytest

from leaderboard.build import build
from tests.helpers.synthetic_runs import write_run, write_unfinished

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    for task in ("cartpole-balance", "franka-reach"):
        for algo, skill in (("ppo", 4.0), ("sac", 1.0), ("td3", 2.5)):
            for seed in range(2):
                engines = ("newton_mjwarp",) if algo == "ppo" else ()
                write_run(out, task, algo, seed, skill=skill, engines=engines, perturbed=algo != "sac")
        write_run(out, task, "random", skill=-3, trained=False)
    write_run(out, "franka-reach", "ppo", skill=6, budget="full", curriculum="staged")
    write_run(out, "franka-reach", "ppo", skill=6, budget="full", overrides={"agent.gamma": 0.5})
    write_unfinished(out)
    return build(out, out / "site")


@pytest.fixture
def page(browser, index):
    """The browser on the first page; nothing may be logged until the test ends."""
    browser.get(index.as_uri())
    yield browser
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def go(page, index, name):
    page.get((index.parent / name).as_uri())


def rows(page, table, group):
    """Algorithms of the visible rows of a group of a table, in their order on the screen."""
    script = """
        const body = [...document.querySelectorAll(arguments[0] + ' tbody')]
            .find(b => b.querySelector('.group').textContent.includes(arguments[1]));
        return [...body.rows].filter(r => r.dataset.algo && r.checkVisibility()).map(r => r.dataset.algo);
    """
    return page.execute_script(script, table, group)


def select(page, name, value):
    from selenium.webdriver.support.ui import Select

    Select(page.find_element("name", name)).select_by_visible_text(value)


def shown(page):
    return page.find_element("css selector", ".filters output").text


def test_sort(page, index):
    go(page, index, "tasks/cartpole-balance.html")

    def header(text):
        return page.find_element("xpath", f"//table[@id='results']//th[button[normalize-space()='{text}']]")

    header("g1").find_element("tag name", "button").click()
    assert rows(page, "#results", "smoke") == ["ppo", "td3", "sac", "random"]
    assert header("g1").get_attribute("aria-sort") == "descending"
    header("g1").find_element("tag name", "button").send_keys("\n")  # by keyboard
    assert rows(page, "#results", "smoke") == ["random", "sac", "td3", "ppo"]
    assert header("g1").get_attribute("aria-sort") == "ascending"
    header("Agent").find_element("tag name", "button").click()
    assert rows(page, "#results", "smoke") == ["ppo", "random", "sac", "td3"]
    assert header("g1").get_attribute("aria-sort") == "none"
    first = page.find_element("css selector", "#results tbody tr")
    assert "group" in first.get_attribute("class")  # the budget's name stays above its rows


def test_filter(page):
    select(page, "algo", "ppo")
    assert rows(page, "#ranking", "smoke") == ["ppo"]
    lines = page.execute_script(
        "return [...document.querySelectorAll('figure[data-budget=smoke] svg [class^=line-]')]"
        ".map(line => [line.getAttribute('class'), getComputedStyle(line).display])"
    )
    assert {name for name, display in lines if display != "none"} == {"line-0"}
    assert {name for name, _ in lines} == {"line-0", "line-1", "line-2"}
    select(page, "budget", "full")
    assert shown(page) == "2 of 6 rows"
    assert not any(f.is_displayed() for f in page.find_elements("css selector", "figure[data-budget=smoke]"))
    page.find_element("name", "find").send_keys("gamma PPO")
    assert rows(page, "#ranking", "full") == ["ppo"]
    assert shown(page) == "1 of 6 rows"
    page.find_element("name", "find").send_keys(" nothing")
    assert shown(page) == "0 of 6 rows"
    page.find_element("css selector", ".filters [type=reset]").click()
    page.execute_async_script("setTimeout(arguments[0], 50)")
    assert len(rows(page, "#ranking", "smoke")) == 4
    assert all(f.is_displayed() for f in page.find_elements("css selector", "figure"))


def test_filter_by_task(page, index):
    go(page, index, "robustness.html")
    assert rows(page, "#retention", "cartpole-balance") == ["ppo", "td3"]
    select(page, "task", "franka-reach")
    assert rows(page, "#retention", "cartpole-balance") == []
    assert rows(page, "#retention", "franka-reach") == ["ppo", "td3"]
    assert not page.find_elements("css selector", "select[name=engine]")  # all runs have the same


def test_from_the_ranking_to_a_run(page):
    """Only by links, as a visitor."""
    page.find_element("link text", "Tasks").click()
    page.find_element("link text", "franka-reach").click()
    assert page.find_element("tag name", "h1").text == "franka-reach"
    assert "Bring the Panda" in page.find_element("tag name", "main").text
    page.find_element("css selector", "#results tr[data-algo=ppo][data-budget=smoke] .seeds a").click()
    text = page.find_element("tag name", "main").text
    for expected in ("suite.run --task franka-reach --algo ppo --seeds 1", "Policy SHA-256", "factor/mass/4", "gamma"):
        assert expected in text
    page.find_element("xpath", "//summary[contains(., 'Packages')]").click()
    assert "isaaclab" in page.find_element("tag name", "main").text
    page.find_element("link text", "franka-reach").click()
    page.find_element("css selector", ".title").click()
    assert page.find_element("tag name", "h1").text == "Ranking"


def test_keyboard_and_screen_reader(page):
    from selenium.webdriver.common.keys import Keys

    page.find_element("tag name", "body").send_keys(Keys.TAB)
    skip = page.switch_to.active_element
    assert skip.get_attribute("class") == "skip"
    assert skip.rect["x"] >= 0  # it shows itself
    assert page.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    skip.send_keys(Keys.ENTER)
    assert page.switch_to.active_element.get_attribute("id") == "main"
    missing = """
        const bad = [];
        for (const th of document.querySelectorAll('th')) if (!th.scope) bad.push(th.outerHTML);
        for (const a of document.querySelectorAll('a, button')) {
            if (!(a.textContent.trim() || a.ariaLabel)) bad.push(a.outerHTML);
        }
        for (const i of document.querySelectorAll('[role=img]')) if (!i.ariaLabel) bad.push(i.outerHTML);
        for (const f of document.querySelectorAll('select, input')) if (!f.labels.length) bad.push(f.outerHTML);
        for (const s of document.querySelectorAll('.scroll')) if (s.tabIndex !== 0) bad.push(s.outerHTML);
        if (document.querySelectorAll('h1').length !== 1 || !document.documentElement.lang) bad.push('heading');
        return bad;
    """
    assert page.execute_script(missing) == []


PAGES = (
    *("index.html", "tasks.html", "grades.html", "robustness.html", "curricula.html", "cost.html", "methods.html"),
    *("tasks/franka-reach.html", "runs/franka-reach-ppo-none-r0-smoke-seed0-*.html"),
)


@pytest.mark.parametrize(("width", "scheme"), [(375, "dark"), (768, "light"), (1280, "dark"), (375, "light")])
def test_every_page_fits_and_follows_the_colour_scheme(page, index, width, scheme):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        for name in PAGES:
            page.get(next(index.parent.glob(name)).as_uri())
            assert page.execute_script("return document.documentElement.scrollWidth") <= width, name
            background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
            dark = sum(map(int, background.removeprefix("rgb(").removesuffix(")").split(","))) < 3 * 128
            assert dark == (scheme == "dark"), name
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
