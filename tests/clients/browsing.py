"""Have a real browser use the service from a front end, and from pages of others. Must never leave it running."""

from collections.abc import Iterator

from tests.clients.environments import HERE, install, install_chromium, program
from tests.clients.playing import Running, play


def check_browser(service: Running) -> Iterator[tuple[str, str | None]]:
    """Play each scenario in Chromium; say what went wrong, None when nothing did."""
    chromium = install_chromium()
    if chromium is None:
        print("The browser is left out. As root: apt-get install chromium")
        return
    folder = HERE / "browser"
    install(folder)
    played = play(program(folder, "check"), folder, service, service.new_key("browser"), CHROMIUM=chromium)
    for scenario, why in played.why.items():
        yield f"browser: {scenario}", why
    if not played.why or played.code:
        yield "browser", played.problem
