"""The page in a real browser."""

import shutil

import pytest

from leaderboard.build import build
from tests.synthetic_runs import write_run, write_unfinished

pytestmark = pytest.mark.browser

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--window-size=1280,900"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (chromium := shutil.which("chromium")) or not (driver := shutil.which("chromedriver")):
        pytest.skip("needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as chrome:
        yield chrome


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    for task in ("cartpole-balance", "franka-reach"):
        for algo, skill in (("ppo", 4.0), ("sac", 1.0), ("td3", 2.5)):
            for seed in range(2):
                write_run(out, task, algo, seed, skill=skill, engines=("newton_mjwarp",) if algo == "ppo" else ())
        write_run(out, task, "random", skill=-3, trained=False)
    write_run(out, "franka-reach", "ppo", skill=6, budget="full")
    write_unfinished(out)
    return build(out, out / "site")


@pytest.fixture
def page(browser, index):
    browser.get(index.as_uri())
    yield browser
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def rows(page, section, task):
    """Algorithms of the visible rows of a task, in their order on the screen."""
    script = """
        const body = [...document.querySelectorAll(arguments[0] + ' tbody')]
            .find(b => b.querySelector('.group').textContent.includes(arguments[1]));
        return [...body.rows].filter(r => r.dataset.algo && r.checkVisibility()).map(r => r.dataset.algo);
    """
    return page.execute_script(script, f"#{section}", task)


def select(page, name, value):
    from selenium.webdriver.support.ui import Select

    Select(page.find_element("name", name)).select_by_visible_text(value)


def test_sort(page):
    def header(text):
        return page.find_element("xpath", f"//section[@id='results']//th[button[normalize-space()='{text}']]")

    header("g1").find_element("tag name", "button").click()
    assert rows(page, "results", "cartpole-balance") == ["ppo", "td3", "sac", "random"]
    assert header("g1").get_attribute("aria-sort") == "descending"
    header("g1").find_element("tag name", "button").send_keys("\n")  # by keyboard
    assert rows(page, "results", "cartpole-balance") == ["random", "sac", "td3", "ppo"]
    assert header("g1").get_attribute("aria-sort") == "ascending"
    header("Agent").find_element("tag name", "button").click()
    assert rows(page, "results", "cartpole-balance") == ["ppo", "random", "sac", "td3"]
    assert header("g1").get_attribute("aria-sort") == "none"
    first = page.find_element("css selector", "#results tbody tr")
    assert "group" in first.get_attribute("class")  # the task's name stays above its rows


def test_filter(page):
    select(page, "algo", "ppo")
    assert rows(page, "results", "cartpole-balance") == ["ppo"]
    assert rows(page, "ranking", "smoke") == ["ppo"]
    lines = page.execute_script(
        "return [...document.querySelectorAll('figure[data-budget=smoke] svg [class^=line]')]"
        ".map(line => [line.getAttribute('class'), getComputedStyle(line).display])"
    )
    assert {name for name, display in lines if display != "none"} == {"line-0"}
    assert {name for name, _ in lines} == {"line-0", "line-1", "line-2"}
    select(page, "budget", "full")
    assert rows(page, "results", "cartpole-balance") == []
    assert rows(page, "results", "franka-reach") == ["ppo"]
    assert page.find_element("css selector", ".filters output").text == "1 of 9 results"
    assert not any(f.is_displayed() for f in page.find_elements("css selector", "figure[data-budget=smoke]"))
    select(page, "task", "cartpole-balance")
    assert page.find_element("css selector", ".filters output").text == "0 of 9 results"
    page.find_element("css selector", ".filters [type=reset]").click()
    page.execute_async_script("setTimeout(arguments[0], 50)")
    assert len(rows(page, "results", "cartpole-balance")) == 4
    assert all(f.is_displayed() for f in page.find_elements("css selector", "figure"))


def test_open_a_run(page):
    link = page.find_element("css selector", "#results tbody tr[data-algo=ppo] .seeds a")
    run = page.find_element("css selector", link.get_attribute("hash"))
    assert not run.is_displayed()
    link.click()
    assert run.is_displayed()
    assert "suite.run --task cartpole-balance --algo ppo --seeds 1" in run.text
    assert "Policy SHA-256" in run.text
    assert page.switch_to.active_element == run
    run.find_element("xpath", ".//summary[text()='Provenance']").click()
    assert "isaaclab" in run.text
    top = page.execute_script("return arguments[0].closest('details').getBoundingClientRect().top", run)
    assert 0 <= top < 200


def test_a_link_to_a_run_opens_it_though_filters_hide_it(page, index):
    anchor = page.find_element("css selector", "#runs details[data-algo=sac] > .run").get_attribute("id")
    select(page, "algo", "ppo")
    page.execute_script("location.hash = arguments[0]", anchor)
    page.execute_async_script("setTimeout(arguments[0], 50)")
    assert page.find_element("id", anchor).is_displayed()
    page.get("about:blank")
    page.get(f"{index.as_uri()}#{anchor}")  # as from another page
    assert page.find_element("id", anchor).is_displayed()


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_follows_the_colour_scheme(page, width, scheme):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
        dark = sum(map(int, background.removeprefix("rgb(").removesuffix(")").split(","))) < 3 * 128
        assert dark == (scheme == "dark")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
