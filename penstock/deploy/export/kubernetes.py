"""Kubernetes: everything that a cluster needs to know of the service, in one file.

What makes it whole: probes are answered by the master on a port of its own; a stop announces itself, serves on, drains
and ends before the grace period does; the configuration is a ConfigMap, secrets a Secret that is not written here.
"""

from __future__ import annotations

from typing import Any

from penstock.deploy.artifact import Artifact
from penstock.deploy.export.compose import NGINX_SPARE_S, USUAL_BODY_BYTES
from penstock.deploy.export.config import config
from penstock.deploy.export.service import USER, VENV, Service
from penstock.deploy.export.text import Notes, documents

CONFIG_FOLDER = "/etc/penstock"
CONFIG_FILE = "penstock.ini"
STARTS_PROBED = 60
START_PERIOD_S = 2
CPU_FOR_A_WORKER_M = 250
"""Of a CPU, in thousandths: what a worker that waits for a database most of its time is sure of."""
SATURATION_GOAL_M = 700
"""Thousandths of the threads that may be busy on average before there are more pods."""
CPU_GOAL_PERCENT = 70
MOST_PODS_FACTOR = 5


def kubernetes(service: Service) -> list[Artifact]:
    """Make the manifest."""
    note = Notes()
    parts = [
        _service_account(service, note),
        _configuration(service, note),
        *([_migration(service, note)] if service.manage else []),
        *([_uploads(service, note)] if service.media else []),
        _deployment(service, note),
        _network_service(service),
        _ingress(service, note),
        _disruption(service, note),
        *([_autoscaler(service, note)] if service.wishes.autoscale != "none" else []),
    ]
    text = f"# {service.name}, served by Penstock: kubectl apply -f kubernetes.yaml\n" + documents(parts)
    return [Artifact("/kubernetes.yaml", text, why="all that the cluster needs to know")]


def _labels(service: Service, component: str = "web") -> dict[str, str]:
    return {"app.kubernetes.io/name": service.name, "app.kubernetes.io/component": component}


def _meta(service: Service, name: str = "", component: str = "web") -> dict[str, Any]:
    return {"name": name or service.name, "labels": _labels(service, component)}


def _service_account(service: Service, note: Notes) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _meta(service),
        **note("The application does not talk to the cluster."),
        "automountServiceAccountToken": False,
    }


def _configuration(service: Service, note: Notes) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _meta(service),
        "data": {
            **note("Change it, and restart the pods: kubectl rollout restart deployment/" + service.name),
            CONFIG_FILE: config(service),
        },
    }


def _environment(service: Service) -> list[dict[str, Any]]:
    return [{"secretRef": {"name": f"{service.name}-env", "optional": True}}]


def _container_security() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _pod_security() -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _volumes(service: Service) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What is mounted, and from where."""
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if service.media is not None:
        mounts.append({"name": "media", "mountPath": service.media[1]})
        volumes.append({"name": "media", "persistentVolumeClaim": {"claimName": f"{service.name}-media"}})
    return mounts, volumes


def _migration(service: Service, note: Notes) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{service.name}-migrate",
            "labels": _labels(service, "migrate"),
            "annotations": {
                **note("Run before each release by Helm and Argo CD; by hand: delete the old job first."),
                "helm.sh/hook": "pre-install,pre-upgrade",
                "helm.sh/hook-delete-policy": "before-hook-creation",
                "argocd.argoproj.io/hook": "PreSync",
                "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation",
            },
        },
        "spec": {
            "backoffLimit": 2,
            "ttlSecondsAfterFinished": 86400,
            "template": {
                "metadata": {"labels": _labels(service, "migrate")},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "securityContext": _pod_security(),
                    "containers": [
                        {
                            "name": "migrate",
                            "image": service.image,
                            "command": [f"{VENV}/bin/python", service.manage, "migrate", "--noinput"],
                            "envFrom": _environment(service),
                            "resources": {
                                "requests": {"cpu": "100m", "memory": "256Mi"},
                                "limits": {"memory": "512Mi"},
                            },
                            "securityContext": _container_security(),
                            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                        }
                    ],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    }


def _uploads(service: Service, note: Notes) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _meta(service, f"{service.name}-media"),
        "spec": {
            **note("Pods on several nodes write to it; where no storage class can do that, use object storage."),
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "10Gi"}},
        },
    }


def _probe(path: str, **times: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "admin"}, **times}


def _container(service: Service, note: Notes, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": "web",
        "image": service.image,
        "command": [f"{VENV}/bin/penstock"],
        "args": [f"{CONFIG_FOLDER}/{CONFIG_FILE}"],
        "ports": [
            {"name": "http", "containerPort": service.wishes.http_port},
            {"name": "admin", "containerPort": service.wishes.admin_port},
        ],
        "envFrom": _environment(service),
        **note("All three ask the master, never the application: a busy pod is not restarted."),
        **note("Until the application is imported, up to two minutes."),
        "startupProbe": _probe(
            "/readyz", periodSeconds=START_PERIOD_S, failureThreshold=STARTS_PROBED, timeoutSeconds=3
        ),
        "livenessProbe": _probe("/livez", periodSeconds=10, failureThreshold=3, timeoutSeconds=3),
        "readinessProbe": _probe("/readyz", periodSeconds=2, failureThreshold=1, timeoutSeconds=3),
        "resources": {
            **note(f"A CPU for each of {service.processes} workers at most; memory as it was counted for them."),
            "requests": {
                "cpu": f"{CPU_FOR_A_WORKER_M * service.processes}m",
                "memory": f"{service.memory_mib}Mi",
            },
            "limits": {"cpu": str(service.processes), "memory": f"{service.memory_mib}Mi"},
        },
        "securityContext": _container_security(),
        "volumeMounts": [*mounts, {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True}],
    }


def _deployment(service: Service, note: Notes) -> dict[str, Any]:
    mounts, volumes = _volumes(service)
    volumes = [*volumes, {"name": "config", "configMap": {"name": service.name}}]
    spec: dict[str, Any] = {}
    if service.wishes.autoscale == "none":
        spec["replicas"] = service.wishes.replicas
    else:
        # A number here would undo what the autoscaler has decided, each time the file is applied.
        spec.update(note("How many pods there are says the autoscaler, at the end of this file."))
    spec.update(
        {
            "selector": {"matchLabels": _labels(service)},
            **note("A new pod serves before an old one leaves."),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": _labels(service)},
                "spec": {
                    "serviceAccountName": service.name,
                    "automountServiceAccountToken": False,
                    **note(
                        f"drain-delay ({service.drain_delay_s} s: not ready, and everybody is served) +"
                        f" worker-reload-mercy ({service.mercy_s} s for requests in flight) + the end itself. There is"
                        " no preStop hook: drain-delay is that wait, and readiness fails meanwhile."
                    ),
                    "terminationGracePeriodSeconds": service.stop_s,
                    "securityContext": _pod_security(),
                    "topologySpreadConstraints": [
                        {
                            "maxSkew": 1,
                            "topologyKey": "kubernetes.io/hostname",
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": _labels(service)},
                        }
                    ],
                    "containers": [_container(service, note, mounts)],
                    "volumes": volumes,
                },
            },
        }
    )
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _meta(service), "spec": spec}


def _network_service(service: Service) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(service),
        "spec": {
            "selector": _labels(service),
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def _ingress(service: Service, note: Notes) -> dict[str, Any]:
    wait = service.harakiri_s + NGINX_SPARE_S if service.harakiri_s else 60
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            **_meta(service),
            "annotations": {
                **note("Of ingress-nginx: uploads as large as the server takes them, and a wait longer than harakiri."),
                "nginx.ingress.kubernetes.io/proxy-body-size": str(service.body_limit_bytes or USUAL_BODY_BYTES),
                "nginx.ingress.kubernetes.io/proxy-read-timeout": str(wait),
            },
        },
        "spec": {
            "tls": [{"hosts": [service.host], "secretName": f"{service.name}-tls"}],
            "rules": [
                {
                    "host": service.host,
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": service.name, "port": {"name": "http"}}},
                            }
                        ]
                    },
                }
            ],
        },
    }


def _disruption(service: Service, note: Notes) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _meta(service),
        "spec": {
            **note("One pod at a time, when nodes are emptied."),
            "maxUnavailable": 1,
            "selector": {"matchLabels": _labels(service)},
        },
    }


def _autoscaler(service: Service, note: Notes) -> dict[str, Any]:
    if service.wishes.autoscale == "cpu":
        goal: dict[str, Any] = {"type": "Utilization", "averageUtilization": CPU_GOAL_PERCENT}
        metric: dict[str, Any] = {"type": "Resource", "resource": {"name": "cpu", "target": goal}}
        why = "Python that waits for a database uses little CPU while all its threads are busy: saturation sees that."
    else:
        goal = {"type": "AverageValue", "averageValue": f"{SATURATION_GOAL_M}m"}
        metric = {"type": "Pods", "pods": {"metric": {"name": "penstock_saturation"}, "target": goal}}
        why = "The share of busy threads, from /saturation; the guide says how a cluster gets to know it."
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _meta(service),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": service.name},
            "minReplicas": service.wishes.replicas,
            "maxReplicas": max(service.wishes.replicas * MOST_PODS_FACTOR, service.wishes.replicas + 1),
            **note(why),
            "metrics": [metric],
            **note("Up at once, down only when five minutes were calm."),
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0},
                "scaleDown": {"stabilizationWindowSeconds": 300},
            },
        },
    }
