"""What a class of studies declares: the decorators of ``FlowProject``, and what they come to along the inheritance.

Each class that inherits from :class:`Declarations` gets a registry of its own, and decorators that write into it; so
what a subclass declares is not seen by its parents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pointillist.definition.decorators import (
    ConditionDecorator,
    HooksDecorator,
    LabelDecorator,
    OperationDecorator,
    PreDecorator,
    declare_group,
)
from pointillist.definition.elsewhere import Archived, Reproduction
from pointillist.definition.hooks import Hooks
from pointillist.definition.labels import method_labels
from pointillist.definition.registry import Definition, Registry, collect

if TYPE_CHECKING:
    from pathlib import Path

    from pointillist.definition.aggregates import aggregator
    from pointillist.definition.elsewhere import Comparator
    from pointillist.definition.groups import Group, GroupDecorator
    from pointillist.definition.operations import Operation


class Declarations:
    """The decorators of a class of studies, and what the class and its parents declare with them."""

    _registry: ClassVar[Registry]
    operation: ClassVar[OperationDecorator]
    pre: ClassVar[PreDecorator]
    post: ClassVar[ConditionDecorator]
    label: ClassVar[LabelDecorator]
    operation_hooks: ClassVar[HooksDecorator]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        registry = cls._registry = Registry()
        for parent in cls._declaring_classes()[1:]:
            parent.__dict__["_registry"].heirs.add(registry)
        cls.operation = OperationDecorator(registry)
        cls.pre = PreDecorator(registry)
        cls.post = ConditionDecorator(registry, "post")
        cls.label = LabelDecorator(registry)
        cls.operation_hooks = HooksDecorator(registry)

    @classmethod
    def make_group(
        cls,
        name: str,
        submit_options: str = "",
        run_options: str = "",
        group_aggregator: aggregator | None = None,
    ) -> GroupDecorator:
        """Declare a group of operations and return the decorator that puts operations into it.

        Parameters
        ----------
        name
            Unique among groups and operations.
        submit_options, run_options
            Appended to the ``run`` line that a scheduler gets, and to the ``exec`` line of each operation.
        group_aggregator
            Which jobs make up a task of the group; by default each job on its own.
        """
        return declare_group(cls._registry, name, submit_options, run_options, group_aggregator)

    @classmethod
    def reproducible(
        cls,
        *,
        inputs: Iterable[str] = (),
        share: Iterable[str] = (),
        made: Iterable[str] = (),
        ignore: Iterable[str] = (),
        compare: Mapping[str, Comparator] | None = None,
        fingerprint: Callable[[Path, str], str | None] | None = None,
        verify: Callable[[Path], Iterable[str]] | None = None,
        code: Callable[[Path, str], str | None] | None = None,
        outdated: Callable[[Path, str], str | None] | None = None,
    ) -> None:
        """Declare how ``project.py reproduce`` makes jobs again and compares them.

        Without it every file of a job is compared byte by byte. Patterns are those of the shell, for paths within a job
        folder; ``*`` spans folders.

        Parameters
        ----------
        inputs
            Files of a job folder that no operation makes; they are copied.
        share
            Files and folders of the project that copies of it use in place, for instance downloaded data.
        made
            What operations make outside of the workspace, as paths within the project: it is not copied, and compared
            when all jobs are made again.
        ignore
            Files that may differ, for instance because they tell of time and place.
        compare
            For patterns, a function of the paths of the original and of what was made again. It returns whether their
            difference is one that may be (None when there is no use in comparing) and how large it is, in words. It is
            asked about files that are not equal byte by byte.
        fingerprint
            A function of a job folder and a file's path in it: a text that is equal for two machines if equal bytes are
            to be expected, None if that is not known. Where it is equal, or not known, no comparison but that of bytes
            counts.
        verify
            A function of a job folder that returns a sentence for each thing that is wrong with what is there.
            ``reproduce`` asks it about the originals, and ``export`` about every job, also those that are not finished.
        code
            A function of a job folder and a file's path in it: what code made it, in a few words, None if that is not
            known. It is told where files differ that were made by different code.
        outdated
            A function of a job folder and a file's path in it: in a sentence, that the file was made by an earlier
            version of the code, which makes it otherwise today, and what to do; else None. Such an original is not
            compared, and a sentence of `verify` that says the same is left out.
        """
        cls._registry.reproduction = Reproduction(
            tuple(inputs),
            tuple(share),
            tuple(made),
            tuple(ignore),
            dict(compare or {}),
            fingerprint,
            verify,
            code,
            outdated,
        )

    @classmethod
    def archived(
        cls,
        *,
        about: Mapping[str, Any] | None = None,
        results: Mapping[str, Iterable[str]] | None = None,
        leave_out: Iterable[str] = (),
        files: Callable[[Path], Mapping[str, bytes]] | None = None,
        entities: Callable[[Path], Iterable[Mapping[str, Any]]] | None = None,
    ) -> None:
        """Declare what ``project.py export`` says of the study, beyond its files and attempts.

        Parameters
        ----------
        about
            Properties of the whole, as in schema.org: ``name``, ``description``, ``license``, ``url``, ... Each
            ``author`` and ``publisher`` is a name, or a mapping with ``name`` and, if there are, ``@id`` (ORCID, ROR),
            ``@type`` (``Person`` or ``Organization``), ``url`` and ``affiliation``; several are a list. What a
            ``CITATION.cff`` in the folder of the project states comes before it.
        results
            For names of operations, patterns of the files that they make, as paths in a job folder or, outside of the
            workspace, in the project; by default those that their post-conditions name.
        leave_out
            Patterns of files of the project that stay behind, besides what :meth:`reproducible` shares.
        files
            A function of the project folder that returns further files of the archive, by path.
        entities
            A function of the project folder that returns further entities of the metadata (RO-Crate: JSON-LD objects
            with ``@id`` and ``@type``). One with the ``@id`` of a file of the archive says more about that file; others
            are mentioned by the whole.
        """
        cls._registry.archived = Archived(
            dict(about or {}),
            {name: tuple(patterns) for name, patterns in (results or {}).items()},
            tuple(leave_out),
            files,
            entities,
        )

    @cached_property
    def definition(self) -> Definition:
        """Everything this class and its parents declare."""
        return collect(
            self._registries(),
            methods=method_labels(self, self._declaring_classes()),
            project=self,
            hooks=self.project_hooks,
        )

    @cached_property
    def project_hooks(self) -> Hooks:
        """Hooks that are called for every operation, before the operation's own; append to its lists."""
        return Hooks()

    @property
    def operations(self) -> dict[str, Operation]:
        """The operations by name, in the order of their definition."""
        return dict(self.definition.operations)

    @property
    def groups(self) -> dict[str, Group]:
        """The groups by name, in the order of their definition; each operation is a group of its own, too."""
        groups = self.definition.groups
        return {name: groups[name] for registry in self._registries() for name in registry.names}

    @property
    def reproduction(self) -> Reproduction:
        """What this class or the nearest of its parents declares about being made again."""
        return next((r.reproduction for r in self._registries() if r.reproduction), Reproduction())

    @property
    def archive(self) -> Archived:
        """What this class or the nearest of its parents declares about its archive."""
        return next((r.archived for r in self._registries() if r.archived), Archived())

    @classmethod
    def _declaring_classes(cls) -> list[type]:
        return [parent for parent in cls.__mro__ if "_registry" in parent.__dict__]

    @classmethod
    def _registries(cls) -> list[Registry]:
        return [parent.__dict__["_registry"] for parent in cls._declaring_classes()]
