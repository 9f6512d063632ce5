#!/usr/bin/env bash
# The step of the action: runs one command of reconciler, and posts its report.
#
# Inputs are the variables RECONCILER_ACTION_…; see action.yml. RECONCILER_ACTION_PACKAGE is empty
# where reconciler is installed already.
set -uo pipefail

command="${RECONCILER_ACTION_COMMAND:?}"
directory="${RECONCILER_ACTION_DIRECTORY:-.}"
environment="${RECONCILER_ACTION_ENVIRONMENT:-}"
reports="${RUNNER_TEMP:-/tmp}/reconciler-reports"

case "$command" in
plan | apply | drift) ;;
*)
    echo "::error::The input command is plan, apply or drift."
    exit 1
    ;;
esac

if [ -n "${RECONCILER_ACTION_PACKAGE:-}" ]; then
    python3 -m pip install --quiet --disable-pip-version-check "$RECONCILER_ACTION_PACKAGE" || exit 1
fi

where=(-C "$directory")
if [ -n "$environment" ]; then
    where+=(-e "$environment")
fi

mapfile -t given < <(printf '%s\n' "${RECONCILER_ACTION_ARGUMENTS:-}" | sed '/^[[:space:]]*$/d')

rm -rf "$reports"
mkdir -p "$reports"
options=(--format github)
for format in text json markdown html junit sarif; do
    options+=(--report "$reports/$command.$format:$format")
done

# A pull request of a fork gets no secrets: it is validated, and planned by whoever merges it.
if [ "$command" = plan ] && [ -z "${OPENAI_ADMIN_KEY:-}${OPENAI_API_KEY:-}" ]; then
    echo "::notice::There are no keys in this job, so the manifests are validated and not planned."
    reconciler validate "${where[@]}" --format github
    exit $?
fi

if [ "$command" = apply ]; then
    # Two merges can apply at once; the second waits. An own --lock-wait among the arguments wins.
    options+=(--yes --lock-wait 30m)
    if [ "${RECONCILER_ACTION_APPROVE:-reviewed}" != anything ]; then
        digest="$(reconciler ci approved "${where[@]}")" || {
            echo "::error::Nothing was applied, because the merged commit has no plan that was reviewed."
            exit 1
        }
        options+=(--approve "$digest")
    fi
fi

reconciler "$command" "${where[@]}" "${options[@]}" ${given[@]+"${given[@]}"}
code=$?

if [ -n "${GITHUB_OUTPUT:-}" ]; then
    echo "reports=$reports" >>"$GITHUB_OUTPUT"
fi

# A report that cannot be posted must not hide what was applied.
posted=0
if [ -f "$reports/$command.markdown" ]; then
    case "$command" in
    plan)
        reconciler ci comment "${where[@]}" "$reports/plan.markdown" --json "$reports/plan.json" || posted=1
        ;;
    apply)
        reconciler ci comment "${where[@]}" "$reports/apply.markdown" --commit "${GITHUB_SHA:?}" || posted=1
        ;;
    drift)
        reconciler ci drift-issue "${where[@]}" "$reports/drift.markdown" --exit-code "$code" || posted=1
        ;;
    esac
fi

if [ "$code" -eq 0 ]; then
    code=$posted
fi
exit "$code"
