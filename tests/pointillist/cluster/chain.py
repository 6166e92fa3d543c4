"""A study of three steps, as tests hand it over: the third works on all jobs, the first fails where bad-X exists."""

CHAIN = """
@Project.post.isfile("a")
@Project.operation(cmd=True, directives={"walltime": 0.02})
def first(job):
    return f"test -e bad-{job.sp.x} && exit 3; touch workspace/{job.id}/a"

@Project.pre.after(first)
@Project.post.isfile("b")
@Project.operation(cmd=True)
def second(job):
    return f"touch workspace/{job.id}/b"

@Project.pre.after(second)
@Project.post(lambda *jobs: all(j.isfile("c") for j in jobs))
@Project.operation(cmd=True, aggregator=aggregator())
def third(*jobs):
    return "touch " + " ".join(f"workspace/{j.id}/c" for j in jobs)
"""
