"""The volume of an ideal and of a van der Waals gas over a grid of pressures, temperatures and amounts.

python project.py status -d -p
python project.py run -f particles 100
"""

from pointillist import FlowProject, true

GAS_CONSTANT = 8.314
ATTRACTION, SIZE = 0.137, 3.87e-5


class Project(FlowProject):
    pass


is_dense = Project.label("dense")(true("dense"))


@Project.post(lambda job: "ideal" in job.doc)
@Project.operation
def ideal_volume(job):
    job.doc.ideal = job.sp.particles * GAS_CONSTANT * job.sp.temperature / (job.sp.pressure * 1e6)


@Project.pre.after(ideal_volume)
@Project.post(lambda job: "real" in job.doc)
@Project.operation
def real_volume(job):
    n, pressure, volume = job.sp.particles, job.sp.pressure * 1e6, job.doc.ideal
    for _ in range(50):
        inner = pressure + ATTRACTION * (n / volume) ** 2
        volume = n * SIZE + n * GAS_CONSTANT * job.sp.temperature / inner
    job.doc.real = volume
    job.doc.dense = bool(volume < 0.9 * job.doc.ideal)


# A shell operation returns its command line, which runs inside the job's folder.
@Project.pre.after(real_volume)
@Project.post.isfile("volumes.txt")
@Project.operation(cmd=True, with_job=True)
def report(job):
    return f"echo 'ideal {job.doc.ideal:.6g} real {job.doc.real:.6g}' > volumes.txt"


if __name__ == "__main__":
    Project.main()
