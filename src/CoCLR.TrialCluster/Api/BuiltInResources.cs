// Why this exists: the list of built-in kinds this server serves, with the names kubectl knows them by.
using k8s.Models;

namespace CoCLR.TrialCluster;

/// <summary>The built-in kinds.</summary>
public static class BuiltInResources
{
    private static readonly ScalePaths WorkloadScale = new(["spec", "replicas"], ["status", "replicas"], ["spec", "selector"]);

    /// <summary>Registers all built-in kinds.</summary>
    public static void Register(ResourceRegistry registry)
    {
        void Add<T>(
            string group,
            string version,
            string kind,
            string plural,
            bool namespaced,
            string shortNames = "",
            bool status = false,
            bool generation = false,
            bool all = false,
            ScalePaths? scale = null,
            string selectable = "",
            bool review = false,
            (string, string, string, string, string[])[]? subresources = null) => registry.Put(new ResourceDefinition
            {
                Group = group,
                Version = version,
                Kind = kind,
                Plural = plural,
                Singular = kind.ToLowerInvariant(),
                ListKind = kind + "List",
                Namespaced = namespaced,
                ShortNames = shortNames.Split(' ', StringSplitOptions.RemoveEmptyEntries),
                Categories = all ? ["all"] : [],
                Schema = BuiltInSchemas.Of(typeof(T)),
                HasStatus = status,
                HasGeneration = generation,
                Scale = scale,
                SelectableFields = selectable.Split(' ', StringSplitOptions.RemoveEmptyEntries),
                IsReview = review,
                Subresources = subresources ?? [],
            });

        Add<V1Namespace>("", "v1", "Namespace", "namespaces", false, "ns", status: true, selectable: "status.phase",
            subresources: [("finalize", "Namespace", "", "", ["update"])]);
        Add<V1Node>("", "v1", "Node", "nodes", false, "no", status: true, selectable: "spec.unschedulable");
        Add<V1Pod>("", "v1", "Pod", "pods", true, "po", status: true, generation: true, all: true,
            selectable: "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName status.phase status.podIP",
            subresources:
            [
                ("log", "Pod", "", "", ["get"]),
                ("eviction", "Eviction", "policy", "v1", ["create"]),
                ("binding", "Binding", "", "", ["create"]),
            ]);
        Add<V1Service>("", "v1", "Service", "services", true, "svc", status: true, all: true, selectable: "spec.clusterIP spec.type");
        Add<V1Endpoints>("", "v1", "Endpoints", "endpoints", true, "ep");
        Add<V1Secret>("", "v1", "Secret", "secrets", true, selectable: "type");
        Add<V1ConfigMap>("", "v1", "ConfigMap", "configmaps", true, "cm");
        Add<Corev1Event>("", "v1", "Event", "events", true, "ev", selectable:
            "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid involvedObject.apiVersion "
                + "involvedObject.resourceVersion involvedObject.fieldPath reason reportingComponent source type");
        Add<V1PersistentVolumeClaim>("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", true, "pvc", status: true);
        Add<V1PersistentVolume>("", "v1", "PersistentVolume", "persistentvolumes", false, "pv", status: true);
        Add<V1ServiceAccount>("", "v1", "ServiceAccount", "serviceaccounts", true, "sa",
            subresources: [("token", "TokenRequest", "authentication.k8s.io", "v1", ["create"])]);
        Add<V1ResourceQuota>("", "v1", "ResourceQuota", "resourcequotas", true, "quota", status: true);
        Add<V1LimitRange>("", "v1", "LimitRange", "limitranges", true, "limits");
        Add<V1Deployment>(
            "apps", "v1", "Deployment", "deployments", true, "deploy", status: true, generation: true, all: true, scale: WorkloadScale);
        Add<V1ReplicaSet>(
            "apps",
            "v1",
            "ReplicaSet",
            "replicasets",
            true,
            "rs",
            status: true,
            generation: true,
            all: true,
            scale: WorkloadScale,
            selectable: "status.replicas");
        Add<V1StatefulSet>(
            "apps", "v1", "StatefulSet", "statefulsets", true, "sts", status: true, generation: true, all: true, scale: WorkloadScale);
        Add<V1Job>("batch", "v1", "Job", "jobs", true, status: true, generation: true, all: true, selectable: "status.successful");
        Add<V1CronJob>("batch", "v1", "CronJob", "cronjobs", true, "cj", status: true, generation: true, all: true);
        Add<V1Lease>("coordination.k8s.io", "v1", "Lease", "leases", true);
        Add<Eventsv1Event>(
            "events.k8s.io",
            "v1",
            "Event",
            "events",
            true,
            "ev",
            selectable: "regarding.kind regarding.namespace regarding.name reason type");
        const string Rbac = "rbac.authorization.k8s.io";
        Add<V1Role>(Rbac, "v1", "Role", "roles", true);
        Add<V1RoleBinding>(Rbac, "v1", "RoleBinding", "rolebindings", true);
        Add<V1ClusterRole>(Rbac, "v1", "ClusterRole", "clusterroles", false);
        Add<V1ClusterRoleBinding>(Rbac, "v1", "ClusterRoleBinding", "clusterrolebindings", false);
        Add<V1NetworkPolicy>("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", true, "netpol", generation: true);
        Add<V1Ingress>("networking.k8s.io", "v1", "Ingress", "ingresses", true, "ing", status: true, generation: true);
        Add<V1IngressClass>("networking.k8s.io", "v1", "IngressClass", "ingressclasses", false, generation: true);
        Add<V1PodDisruptionBudget>(
            "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", true, "pdb", status: true, generation: true);
        Add<V1CustomResourceDefinition>(
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
            "customresourcedefinitions",
            false,
            "crd crds",
            status: true,
            generation: true);
        Add<V1PriorityClass>("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", false, "pc", generation: true);
        Add<V1RuntimeClass>("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", false);
        Add<V1StorageClass>("storage.k8s.io", "v1", "StorageClass", "storageclasses", false, "sc");
        const string Authorization = "authorization.k8s.io";
        Add<V1SelfSubjectAccessReview>(Authorization, "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", false, review: true);
        Add<V1SelfSubjectRulesReview>(Authorization, "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", false, review: true);
        Add<V1SubjectAccessReview>(Authorization, "v1", "SubjectAccessReview", "subjectaccessreviews", false, review: true);
        Add<V1LocalSubjectAccessReview>(Authorization, "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", true, review: true);
        Add<V1TokenReview>("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", false, review: true);
        Add<V1SelfSubjectReview>("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", false, review: true);
    }

    /// <summary>The model class whose schema another path shares; `events.k8s.io` and core events are one table on a real server.</summary>
    public static ResourceKey StorageOf(ResourceKey key) =>
        key == new ResourceKey("events.k8s.io", "events") ? new ResourceKey("", "events") : key;
}
