"""The ways in which an object is removed. An object that is gone already is never an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.api.objects.bodies import restoring_body, whole_body
from reconciler.api.objects.change_context import ChangeContext, FieldWrites
from reconciler.errors import AnswerError, ApiError, NotFoundError
from reconciler.model.kind import TerminalState
from reconciler.model.resource import LiveObject


def delete(context: ChangeContext, live: LiveObject, field_writes: FieldWrites) -> None:
    """Delete an object with everything that its fields created elsewhere."""
    for handler, field_write in field_writes:
        # An object that is gone has no members to list, and nothing keeps the delete from going on.
        with _ignore_gone(context):
            handler.before_delete(field_write, live)
    with context.steps.step("delete", id=live.id) as step:
        with _ignore_gone(context):
            context.collection.remove(live.own_id)
        step.done(live.id)
    # After the delete: a key stays in its destinations as long as it works.
    for handler, field_write in field_writes:
        handler.after_delete(field_write)


def stop_job(context: ChangeContext, live: LiveObject) -> None:
    """Cancel a running job. A job that ends at the same moment is no error."""
    if not live.runs:
        return
    with context.steps.step("cancel", id=live.id) as step:
        try:
            with _ignore_gone(context):
                context.collection.cancel(live.own_id)
        except ApiError as error:
            # The API refuses to cancel a job that has ended, with either status. Either one can mean
            # something else as well, so the job itself decides.
            if error.status not in (400, 409):
                raise
            current = context.collection.get(live.own_id)
            if current is not None and current.runs:
                raise
        step.done(live.id)


def delete_job_product(context: ChangeContext, live: LiveObject) -> None:
    """Delete the product of a job, for jobs that cannot be deleted themselves."""
    job = live.kind.job
    if job is None or not job.product:
        return
    product = job.final_results(live.attributes).get(job.product)
    # A job that failed or was cancelled has made nothing.
    if product is None:
        return
    method, _, path = job.remove_product.partition(" ")
    with context.steps.step("delete product", id=product) as step:
        with _ignore_gone(context):
            context.client.request(method, path, ids={"id": str(product)})
        step.done(live.id)


def archive(context: ChangeContext, live: LiveObject) -> None:
    """Archive an object, for kinds that the API never deletes."""
    with context.steps.step("archive", id=live.id) as step:
        try:
            path = f"{context.collection.path}/{{id}}/archive"
            answer = context.client.request("POST", path, ids={"id": live.own_id}, repeatable=True)
            # Some servers and proxies answer with nothing or with another object.
            is_archived = live.kind.terminal_state(answer) is TerminalState.GONE
            if not is_archived and not _is_archived(context, live):
                raise AnswerError(
                    f"POST {path}: the answer does not say that {live.own_id} is archived."
                )
        except NotFoundError:
            pass
        except ApiError as error:
            # The API refuses to archive an object twice, with a 400 like that of a bad request.
            if error.status != 400 or not _is_archived(context, live):
                raise
        step.done(live.id)


def restore(context: ChangeContext, live: LiveObject) -> None:
    """Write back the values before our first write, for objects that always exist."""
    if context.record is None:
        return
    body = restoring_body(context.record.overwritten)
    if not body:
        return
    with context.steps.step("restore", fields=sorted(body)) as step:
        with _ignore_gone(context):
            whole = whole_body(live, body, applied=context.applied)
            context.collection.modify(live.own_id, whole)
        step.done(live.id)


def _is_archived(context: ChangeContext, live: LiveObject) -> bool:
    current = context.collection.get(live.own_id)
    return current is None or live.kind.terminal_state(current.attributes) is TerminalState.GONE


@contextmanager
def _ignore_gone(context: ChangeContext) -> Iterator[None]:
    try:
        yield
    except NotFoundError:
        return
    except ApiError as error:
        if not _is_in_archived_project(context, error):
            raise


def _is_in_archived_project(context: ChangeContext, error: ApiError) -> bool:
    """Whether a refusal means that the project is archived, and its objects are gone with it."""
    # The API has no status of its own for that: it answers 400 or 401 with a sentence.
    if error.status not in (400, 401) or "archived" not in str(error):
        return False
    if "{project}" not in context.collection.path:
        return True
    # The sentence may be about another object, so the project itself is asked.
    project = context.client.request("GET", "/organization/projects/{project}")
    return project.get("status") == "archived"
