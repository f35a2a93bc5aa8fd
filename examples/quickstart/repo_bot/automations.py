"""When this happens on GitHub, do that. Found by Automate because the app is installed."""

from automate import action, workflow
from automate_core.connectors import ActionContext
from django.conf import settings

TRACKER = f"http://{settings.TRACKER}"


@action("repo.classify_issue", idempotent=True)
def classify_issue(title: str, body: str | None) -> dict[str, str]:
    """Guess what an issue is about."""
    text = f"{title} {body or ''}".lower()
    kind = "typo" if "spell" in text else "question" if "?" in text else "task"
    return {"kind": kind, "priority": "low" if kind == "typo" else "normal"}


@action("repo.summarize_job", idempotent=True)
def summarize_job(job: dict[str, object], ctx: ActionContext) -> dict[str, object]:
    """Name the steps of a CI job that failed."""
    steps = job.get("steps") or []
    failed = [step["name"] for step in steps if step.get("conclusion") == "failure"]
    ctx.logger.info("%s of %s steps failed", len(failed), len(steps))
    return {"job": job["name"], "failed": failed}


with workflow("triage-issue", on="github.issues.opened", name="Triage a new issue") as w:
    found = w.step("classify", classify_issue, title=w.event["issue"]["title"], body=w.event["issue"]["body"])
    ticket = w.step(
        "ticket",
        "http.request",
        method="POST",
        url=f"{TRACKER}/tickets",
        json={"title": w.event["issue"]["title"], "kind": found.output["kind"]},
    )
    w.step(
        "escalate",
        "flow.log",
        needs=[found],
        when={"!=": [{"var": "steps.classify.output.priority"}, "low"]},
        message=f"Somebody look at {w.event['issue']['html_url']}",
    )
    w.returns(ticket=ticket.output["json"]["id"], kind=found.output["kind"])

with workflow(
    "page-on-alert",
    on="github.dependabot_alert.created",
    when={"in": [{"var": "alert.security_advisory.severity"}, ["medium", "high", "critical"]]},
    name="Page somebody about a vulnerable dependency",
) as w:
    # The pager is busy at first: the step is retried as a row with a time, and no worker waits.
    page = w.step(
        "page",
        "http.request",
        method="POST",
        url=f"{TRACKER}/pages",
        json={"package": w.event["alert"]["security_vulnerability"]["package"]["name"]},
        retry={"max_attempts": 5, "initial": 0.2},
    )
    w.step("note", "flow.log", message=f"Paged: {page.output['json']['id']}", level="warning")

with workflow(
    "report-failed-job",
    on="github.workflow_job.completed",
    when={"==": [{"var": "workflow_job.conclusion"}, "failure"]},
    name="Report a CI job that failed",
) as w:
    summary = w.step("summarize", summarize_job, job=w.event["workflow_job"])
    w.step("report", "http.request", method="POST", url=f"{TRACKER}/tickets", json={"job": summary.output["job"]})

with workflow("watch-scanner", on="github.code_scanning_alert.*", name="Sort what the scanner finds") as w:
    w.step("note", "flow.log", message=f"{w.event['alert']['rule']['severity']}: {w.event['action']}")
    w.step(
        "ticket",
        "http.request",
        needs=[],
        when={"==": [{"var": "event.payload.alert.rule.severity"}, "error"]},
        method="POST",
        url=f"{TRACKER}/tickets",
        json={"alert": w.event["alert"]["number"]},
    )

with workflow("thank-stargazer", on="github.star.created", name="Thank a stargazer") as w:
    w.step("thank", "flow.log", message=f"Thank you, {w.event['sender']['login']}!")

with workflow(
    "hot-discussion",
    on="github.issue_comment.created",
    when={"and": [{">=": [{"var": "issue.comments"}, 50]}, {"==": [{"var": "issue.state"}, "open"]}]},
    name="Invite people to a hot discussion",
) as w:
    w.step("invite", "flow.log", message=f"Hot: {w.event['issue']['title']}")
