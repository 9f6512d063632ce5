"""Which state a run uses: the address on the command line, in the environment, or the folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.app.states import location_of
from reconciler.errors import StateError
from reconciler.manifests import Settings, Stack
from reconciler.manifests.shared_state import given_folder
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.secret import Secret
from tests.conftest import Workspace

FOLDER = Path("/stacks/shop/.reconciler")
PLACE = SourceLocation("reconciler.yaml", 4, 12)


def stack(*, needs_remote: bool = False) -> Stack:
    return Stack(
        name="shop",
        environment="prod",
        root=FOLDER.parent,
        file=FOLDER.parent / "reconciler.yaml",
        backend_path=FOLDER,
        backend_place=PLACE,
        needs_remote=needs_remote,
    )


def settings(*, backend: str | None = None, variable: str = "") -> Settings:
    return Settings(root=FOLDER.parent, backend=backend, env={"RECONCILER_BACKEND": variable})


@pytest.mark.parametrize("variable", ["", " \n"])
def test_without_an_address_the_state_is_in_the_folder_of_the_stack_file(variable: str) -> None:
    assert location_of(stack(), settings(variable=variable)).folder == FOLDER


@pytest.mark.parametrize("needs_remote", [False, True])
def test_an_address_of_the_environment_wins_over_the_stack_file(needs_remote: bool) -> None:
    location = location_of(stack(needs_remote=needs_remote), settings(variable="s3://bucket/shop"))
    assert (location.text, location.folder) == ("s3://bucket/shop", None)


def test_an_address_of_the_command_line_wins_over_the_environment() -> None:
    location = location_of(stack(), settings(backend="az://box/shop", variable="s3://bucket/shop"))
    assert location.text == "az://box/shop"


@pytest.mark.parametrize(
    "text",
    [
        "local:/var/states",
        "LOCAL:states",
        "local:a b%20c",
        "file:///var/s%20b",
        "file://localhost/s",
    ],
)
def test_manifests_are_kept_out_of_the_folder_that_the_state_is_in(text: str) -> None:
    given = settings(variable=f"{text}\n")
    folder = location_of(stack(), given).folder
    assert folder is not None
    assert given_folder(given) == folder.absolute()


def test_a_remote_backend_without_an_address_is_refused_at_its_place() -> None:
    with pytest.raises(StateError, match=rf"^{PLACE}: .* no backend address is set") as caught:
        location_of(stack(needs_remote=True), settings())
    assert caught.value.hint == "Set RECONCILER_BACKEND, or pass --backend ADDRESS."


@pytest.mark.parametrize("text", ["postgresql://ci:kahvi-tauko@db/x", "s3://ci:kahvi-tauko@b/x"])
def test_the_password_of_an_address_is_learned_even_if_it_is_refused(text: str) -> None:
    learned: list[Secret] = []
    with suppress(StateError):
        location_of(stack(), Settings(root=FOLDER, backend=text, learn=learned.append))
    assert Secret("kahvi-tauko") in learned


@pytest.mark.parametrize("from_environment", [True, False])
def test_no_command_prints_the_password_of_the_address(
    workspace: Workspace, from_environment: bool
) -> None:
    address = "postgresql://ci:kahvi-tauko@db/x"
    workspace.declare("kind: Project\nmetadata: {name: a}\nspec: {name: A, kahvi-tauko: 1}\n")
    if from_environment:
        workspace.variables["RECONCILER_BACKEND"] = address
        done = workspace.run("-vv", "validate", expect=1)
    else:
        done = workspace.run("-vv", "validate", "--backend", address, expect=1)
    assert 'Unknown field "•••"' in done.err
    assert "kahvi" not in done.out + done.err
