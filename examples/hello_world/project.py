"""The smallest study: one operation that greets.

A job is done when its folder holds ``greeting.txt``; that is what the post-condition says.
"""

from pointillist import FlowProject


class Project(FlowProject):
    pass


@Project.label
def greeted(job):
    return job.isfile("greeting.txt")


@Project.post(greeted)
@Project.operation
def greet(job):
    text = f"Hello, {job.sp.name}!"
    print(text)
    with open(job.fn("greeting.txt"), "w") as file:
        file.write(text + "\n")


if __name__ == "__main__":
    Project.main()
