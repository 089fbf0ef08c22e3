"""Kubernetes clusters of whatever make as witnesses: the contexts of a kubeconfig, when the user names them.

What is read of a cluster is what `eks` reads too; how it is reached is kubectl's way.
https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from ecrsweep.core.errors import AwsFailure, BadInput, CredentialsFailure
from ecrsweep.core.uses import Note, Use
from ecrsweep.ports import About, Place
from ecrsweep.sources.clusters.api import ClusterApi
from ecrsweep.sources.clusters.kubeconfig import Kubeconfig, default_paths
from ecrsweep.sources.clusters.reading import Answer, Cluster, Wishes, one_failure, read_cluster, words

NAME: Final = "kubernetes"

_OPTIONS: Final = ("allow-insecure", "contexts", "ignore", "kubeconfig", "paths")
_EVERY: Final = "*"
_YES_OR_NO: Final = {"yes": True, "no": False}


class KubernetesSource:
    """Every image name that the clusters of some contexts hold (`ports.Source`)."""

    name = NAME
    actions = ()

    about = About(
        system="Kubernetes",
        calls="the Kubernetes API of each context of a kubeconfig that is named, as for `eks`",
        keeps=(
            "what `eks` keeps, in clusters of whatever make. `--source-option kubernetes.contexts=a,b` names the contexts "
            "(`*`: all; without: the current one), `kubernetes.kubeconfig=PATH` the file: [kubernetes.md](kubernetes.md)"
        ),
        unknowable="what `eks` cannot know; clusters whose contexts nobody names",
        bulk=True,
        by_default=False,
        once=True,
        once_a_run=True,
    )

    def __init__(
        self,
        contexts: tuple[str, ...] = (),
        kubeconfig: Path | None = None,
        wishes: Wishes | None = None,
        *,
        allow_insecure: bool = False,
    ) -> None:
        """No contexts: the current one. No kubeconfig: where kubectl looks."""
        self._contexts, self._kubeconfig = contexts, kubeconfig
        self._wishes = wishes or Wishes()
        self._allow_insecure = allow_insecure

    def with_options(self, options: Mapping[str, str]) -> "KubernetesSource":
        """The source with these options. Raises `BadInput`, also for a context that does not exist."""
        unknown = sorted(options.keys() - set(_OPTIONS))
        if unknown:
            raise BadInput(f"The source kubernetes has no option {', '.join(unknown)}: it has {', '.join(_OPTIONS)}")
        answer = options.get("allow-insecure", "no")
        if answer not in _YES_OR_NO:
            raise BadInput(f'allow-insecure is "{answer}": accepted are yes and no')
        path = options.get("kubeconfig")
        source = KubernetesSource(
            words(options.get("contexts", "")),
            Path(path).expanduser() if path else None,
            Wishes.of(options),
            allow_insecure=_YES_OR_NO[answer],
        )
        source._chosen()  # a context that does not exist is a mistake, not a gap
        return source

    def uses(self, place: Place) -> Iterator[Use | Note]:
        """The uses of context after context. Raises `AwsFailure` at the end for all that could not be read."""
        try:
            config, contexts = self._chosen()
        except BadInput as error:  # it was checked when the options were: the file has changed since
            raise CredentialsFailure(str(error)) from error
        failures = []
        for told, failure in place.each(lambda context: self._answer(place, config, context), contexts):
            yield from told
            failures += [] if failure is None else [failure]
        failure = one_failure(failures, [str(each) for each in failures])
        if failure is not None:
            raise failure

    def _chosen(self) -> tuple[Kubeconfig, list[str]]:
        """The kubeconfig, and the contexts to ask. Raises `BadInput`."""
        paths = [self._kubeconfig] if self._kubeconfig else default_paths(os.environ)
        config = Kubeconfig.read(paths)
        contexts = list(dict.fromkeys(self._contexts or filter(None, [config.current])))
        if contexts == [_EVERY]:
            contexts = config.contexts
        missing = [context for context in contexts if context not in config.contexts]
        where = ", ".join(str(path) for path in paths) or "no file"
        if missing:
            raise BadInput(
                f"There is no context {', '.join(missing)} in {where}. There are: {', '.join(config.contexts)}"
            )
        if not contexts:
            raise BadInput(f"No context is named, and the kubeconfig ({where}) has none that is current")
        return config, contexts

    def _answer(self, place: Place, config: Kubeconfig, context: str) -> Answer:
        """What one cluster says. A failure of one takes no other along."""
        cluster = Cluster(
            name=f"cluster of context {context}",
            prefix=f"{NAME}:{context}",
            source=NAME,
            account=place.account,
            region="",
            unknown="Renew the credential of this context: kubectl config view names its user",
            forbidden="Let the ClusterRole of docs/kubernetes.md list these, and bind it to its user",
        )
        try:
            door = config.door(context, allow_insecure=self._allow_insecure)
            api = ClusterApi(door)
            try:
                told, failure = read_cluster(cluster, api, self._wishes, place.each)
            finally:
                api.close()
        except AwsFailure as failure:
            return [], failure
        except BadInput as error:
            return [], CredentialsFailure(str(error))
        if not door.is_safe:
            told.append(Note("who answered was not verified, by the option allow-insecure", cluster.prefix))
        return told, failure
