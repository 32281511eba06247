"""``kingyo rate`` in a process of its own: what its page may do, and what others may not."""

import signal
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kingyo.store import RunStore
from kingyo.store.side_databases import read_choices
from tests.rated_runs import drawn_run
from tests.views.rating.sessions import Client, Running, rating


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_run(tmp_path_factory.mktemp("rated") / "run")


@pytest.fixture(scope="module")
def session(run: Path) -> Iterator[Running]:
    with rating(run, "--pairs", "40") as running:
        yield running


@pytest.fixture
def client(session: Running) -> Client:
    return session.client()


def test_a_session_from_pair_to_choice(run: Path, client: Client) -> None:
    state = client.state()
    pair, before = state["pair"]["id"], len(read_choices(run))
    sides = [client.ask(f"{pair}/{side}") for side in ("left", "right")]
    after = client.choose(pair, "right")
    assert (state["judged"], after["judged"], after["pairs"]) == (before, before + 1, 40)
    assert after["pair"]["id"] != pair and after["title"] == "pics" and after["rater"] == "ann"
    choice = read_choices(run)[-1]
    assert [sha256(side.content).hexdigest() for side in sides] == [choice.left_image, choice.right_image]
    assert {side.headers["Content-Type"] for side in sides} == {"image/png"}
    assert (choice.verdict, choice.seconds, choice.rater, choice.split) == ("right", 0.5, "ann", "validation")


def test_nothing_names_a_model(run: Path, client: Client) -> None:
    state = client.ask("state")
    assert set(state.json) == {"title", "rater", "judged", "pairs", "pair"}
    assert set(state.json["pair"]) == {"id", "prompt"}
    with RunStore.read(run) as store:
        recipes = [trial.recipe_hash for trial in store.trials()]
        images = [file.stem for file in (run / "media").iterdir()]
    for secret in [*recipes, *images]:
        assert secret not in state.content.decode()


def test_the_page_fetches_only_from_its_server(client: Client) -> None:
    page = client.ask("")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert page.headers["Referrer-Policy"] == "no-referrer" and page.headers["Cache-Control"] == "no-store"
    for place in ("", "page.js", "page.css"):
        content = client.ask(place)
        assert content.status == 200 and b"http" not in content.content
    assert b"<noscript>" in page.content


def test_a_choice_that_is_sent_twice_counts_once(run: Path, client: Client) -> None:
    pair, before = client.state()["pair"]["id"], len(read_choices(run))
    first = client.choose(pair, "left")
    assert client.choose(pair, "left") == client.choose(pair, "right") == first
    assert len(read_choices(run)) == before + 1 and read_choices(run)[-1].verdict == "left"


def test_undo_shows_the_same_pair_and_ignores_late_repeats(run: Path, client: Client) -> None:
    state = client.state()
    client.choose(state["pair"]["id"], "left")
    undone = client.ask("undo", {}).json
    assert undone["judged"] == state["judged"]
    before, after = state["pair"]["id"], undone["pair"]["id"]
    assert before != after and before.partition("-")[0] == after.partition("-")[0]
    assert client.ask(f"{before}/left").content == client.ask(f"{after}/left").content
    assert client.choose(before, "left")["judged"] == state["judged"], "a late repeat of the undone choice"
    assert client.choose(after, "tie")["judged"] == state["judged"] + 1
    assert read_choices(run)[-1].verdict == "tie"


def test_undo_goes_back_to_the_first_pair(client: Client) -> None:
    for _ in range(3):
        client.choose(client.state()["pair"]["id"])
    for _ in range(client.state()["judged"] + 2):
        state = client.ask("undo", {}).json
    assert state["judged"] == 0 and state["pair"] is not None


FOREIGN = {"Origin": "http://evil.example"}
BODY = {"pair": "x", "choice": "left", "seconds": 1}


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/", {}, None, 404),
        ("/wrong/state", {}, None, 404),
        ("state", {"Host": "evil.example"}, None, 403),
        ("state", {"Host": "127.0.0.1:1"}, None, 403),
        ("state", {"Host": "127.0.0.1.evil.example:PORT"}, None, 403),
        ("state", {"Host": "localhost:PORT"}, None, 200),
        ("choice", FOREIGN, BODY, 403),
        ("choice", {"Origin": "null"}, BODY, 403),
        ("undo", FOREIGN, {}, 403),
        ("choice", {"Content-Type": "text/plain"}, BODY, 415),
        ("choice", {}, BODY, 409),
        ("choice", {}, {**BODY, "choice": "both"}, 400),
        ("choice", {}, b"{", 400),
        ("choice", {}, b"[" * 4000, 400),
        ("choice", {}, b"\xff\xfe", 400),
        ("choice", {}, {**BODY, "pair": "\ud800"}, 400),
        ("choice", {}, b" " * 5000, 413),
        ("choice", {"Content-Length": "-1"}, b"{}", 413),
        ("choice", {"Content-Length": "9" * 5000}, b"{}", 413),
        ("elsewhere", {}, {}, 404),
        ("../run.db", {}, None, 404),
        ("x/left", {}, None, 404),
        ("../../../../etc/passwd", {}, None, 404),
    ],
)
def test_other_requests_are_refused(
    run: Path, client: Client, path: str, headers: dict[str, str], body: object, status: int
) -> None:
    before, port = read_choices(run), str(client.place.port)
    sent = {name: value.replace("PORT", port) for name, value in headers.items()}
    assert client.ask(path, body, sent).status == status
    assert read_choices(run) == before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD"])
def test_other_methods_are_refused(session: Running, method: str) -> None:
    assert session.client().ask("state", method=method).status == 501


@pytest.mark.parametrize("seconds", [-1, "soon", None, float("nan"), 10**400])
def test_a_time_that_is_none_is_refused(run: Path, client: Client, seconds: object) -> None:
    before, pair = read_choices(run), client.state()["pair"]["id"]
    answer = client.ask("choice", {"pair": pair, "choice": "skip", "seconds": seconds})
    assert answer.status == 400 and read_choices(run) == before


def test_an_image_that_is_gone_is_an_error_and_the_session_goes_on(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run")
    with rating(run) as running:
        client = running.client()
        pair = client.state()["pair"]["id"]
        for file in (run / "media").iterdir():
            file.unlink()
        answer = client.ask(f"{pair}/left")
        assert answer.status == 500 and "error" in answer.json
        assert client.choose(pair, "skip")["judged"] == 1


def test_a_session_ends_by_itself_and_at_ctrl_c(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run")
    with rating(run, "--pairs", "2") as running:
        client = running.client()
        client.choose(client.state()["pair"]["id"])
        done = client.choose(client.state()["pair"]["id"])
        assert done["pair"] is None and done["judged"] == 2
        running.end(signal.SIGINT)
        assert running.process.exitcode == 0, running.err.read_text()
        out = running.out.read_text()
        assert "2 of 2 pairs" in out and f"kingyo show {run}" in out
        assert running.err.read_text() == ""


def test_another_person_rates_beside_a_locked_run(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run", status="running")
    with RunStore.open(run), rating(run) as one, rating(run, "--rater", "bob") as other:
        for running in (one, other):
            client = running.client()
            client.choose(client.state()["pair"]["id"])
    assert sorted(each.rater for each in read_choices(run)) == ["ann", "bob"]


def test_a_port_is_free_as_soon_as_its_session_ends(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run")
    with rating(run) as running:
        port = running.client().place.port
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", urlsplit(running.url).path + "state")
        connection.getresponse().read()  # the server closes the open connection, and the port waits
        running.end(signal.SIGINT)
    with closing(connection), rating(run, "--port", str(port)) as again:
        assert again.client().place.port == port


def test_an_undone_pair_that_another_session_judged_is_not_shown_again(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run")
    with rating(run) as one, rating(run) as other:
        client, second = one.client(), other.client()
        client.choose(client.state()["pair"]["id"])
        undone = client.ask("undo", {}).json["pair"]["id"]
        assert second.state()["pair"]["id"] == undone
        after = second.choose(undone)
        assert client.state() == after and after["pair"]["id"] != undone
