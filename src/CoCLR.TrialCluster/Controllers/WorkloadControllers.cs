// Why this exists: Deployments and ReplicaSets, enough for the chart's operator and dashboard to be rolled out, waited for and replaced.
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Keeps as many pods as a ReplicaSet wants.</summary>
public sealed class ReplicaSetController(InProcessCluster cluster, OwnerIndex owners) : Controller(cluster, "replicaset-controller")
{
    private static readonly ResourceKey Sets = new("apps", "replicasets");

    /// <inheritdoc/>
    public override void OnWritten(ResourceKey key, StoreEvent e)
    {
        if (key == Sets)
        {
            Enqueue(new WorkItem(key, e.After.Namespace, e.After.Name));
        }
        else if (key == ControllerManager.Pods
            && e.After.Value.Items("metadata", "ownerReferences").FirstOrDefault(r => r.Text("kind") == "ReplicaSet")
                .Text("name") is { } name)
        {
            Enqueue(new WorkItem(Sets, e.After.Namespace, name));
        }
    }

    /// <inheritdoc/>
    protected override void Reconcile(WorkItem item)
    {
        if (Find(Sets, item.Namespace, item.Name) is not { } set || set.Value.At("metadata", "deletionTimestamp") is not null)
        {
            return;
        }

        var pods = owners.Of(set.Uid).Where(d => d.Key == ControllerManager.Pods).Select(d => Find(d.Key, d.Namespace, d.Name))
            .OfType<StoredObject>()
            .Where(
                p =>
                    p.Value.Text("status", "phase") is not ("Succeeded" or "Failed") && p.Value.At("metadata", "deletionTimestamp") is null)
            .OrderBy(p => Has(p.Value, "Ready") ? 0 : 1).ThenBy(p => p.Name, StringComparer.Ordinal).ToList();
        var wanted = set.Value.Number("spec", "replicas") ?? 1;
        var created = 0;
        for (var i = pods.Count; i < wanted; i++)
        {
            var metadata = set.Value.Map("spec", "template", "metadata")?.Copy() ?? [];
            metadata["generateName"] = item.Name + "-";
            metadata["ownerReferences"] = new JsonArray(OwnerOf(set.Value));
            try
            {
                var pod = Create(
                    "v1",
                    "Pod",
                    item.Namespace,
                    new JsonObject { ["metadata"] = metadata, ["spec"] = set.Value.At("spec", "template", "spec")!.DeepClone() });
                Record(set.Value, "Normal", "SuccessfulCreate", $"Created pod: {pod.Text("metadata", "name")}");
                created++;
            }
            catch (ApiException e)
            {
                Record(set.Value, "Warning", "FailedCreate", $"Error creating: {e.Message}");
                throw;
            }
        }

        foreach (var extra in pods.Skip((int)wanted))
        {
            Delete(ControllerManager.Pods, extra.Namespace, extra.Name);
            Record(set.Value, "Normal", "SuccessfulDelete", $"Deleted pod: {extra.Name}");
        }

        var ready = pods.Take((int)wanted).Count(p => Has(p.Value, "Ready"));
        Change(Sets, item.Namespace, item.Name, o =>
        {
            var status = o.Ensure("status");
            status["observedGeneration"] = o.Number("metadata", "generation");
            status["replicas"] = Math.Min(pods.Count, wanted) + created;
            status["fullyLabeledReplicas"] = Math.Min(pods.Count, wanted) + created;
            status["readyReplicas"] = ready;
            status["availableReplicas"] = ready;
        }, status: true);
    }
}

/// <summary>Rolls a Deployment over its ReplicaSets.</summary>
public sealed class DeploymentController(InProcessCluster cluster, OwnerIndex owners) : Controller(cluster, "deployment-controller")
{
    private static readonly ResourceKey Deployments = new("apps", "deployments");
    private static readonly ResourceKey Sets = new("apps", "replicasets");

    /// <inheritdoc/>
    public override void OnWritten(ResourceKey key, StoreEvent e)
    {
        if (key == Deployments)
        {
            Enqueue(new WorkItem(key, e.After.Namespace, e.After.Name));
        }
        else if (key == Sets
            && e.After.Value.Items("metadata", "ownerReferences").FirstOrDefault(r => r.Text("kind") == "Deployment")
                .Text("name") is { } name)
        {
            Enqueue(new WorkItem(Deployments, e.After.Namespace, name));
        }
        else if (key == ControllerManager.Pods && e.Deleted
            && e.After.Value.Items("metadata", "ownerReferences").Any(r => r.Text("kind") == "ReplicaSet"))
        {
            foreach (var deployment in Cluster.Store.All(Deployments).Where(d => d.Namespace == e.After.Namespace))
            {
                Enqueue(new WorkItem(Deployments, deployment.Namespace, deployment.Name));
            }
        }
    }

    /// <inheritdoc/>
    protected override void Reconcile(WorkItem item)
    {
        if (Find(Deployments, item.Namespace, item.Name) is not { } deployment
            || deployment.Value.At("metadata", "deletionTimestamp") is not null)
        {
            return;
        }

        var template = deployment.Value.Map("spec", "template")!;
        var hash = Hash(template);
        var sets = owners.Of(deployment.Uid).Where(d => d.Key == Sets).Select(d => Find(d.Key, d.Namespace, d.Name)).OfType<StoredObject>()
            .ToList();
        var current = sets.Find(s => s.Value.Text("metadata", "labels", "pod-template-hash") == hash);
        var old = sets.Where(s => s != current).ToList();
        var replicas = deployment.Value.Number("spec", "replicas") ?? 1;
        var recreate = deployment.Value.Text("spec", "strategy", "type") == "Recreate";
        var oldPods = old.SelectMany(s => owners.Of(s.Uid))
            .Count(
                d => d.Key == ControllerManager.Pods
                    && Find(d.Key, d.Namespace, d.Name)?.Value.Text("status", "phase") is not ("Succeeded" or "Failed"));
        if (recreate)
        {
            foreach (var set in old.Where(s => s.Value.Number("spec", "replicas") > 0))
            {
                Scale(deployment.Value, set, 0);
            }
        }

        var revision = sets.Select(
            s => long.Parse(
                s.Value.Text("metadata", "annotations", "deployment.kubernetes.io/revision") ?? "0",
                System.Globalization.CultureInfo.InvariantCulture))
            .DefaultIfEmpty(0).Max();
        if (current is null)
        {
            var labelled = template.Copy();
            labelled.Ensure("metadata").Ensure("labels")["pod-template-hash"] = hash;
            var selector = deployment.Value.Map("spec", "selector")!.Copy();
            selector.Ensure("matchLabels")["pod-template-hash"] = hash;
            revision++;
            Create("apps/v1", "ReplicaSet", item.Namespace, new JsonObject
            {
                ["metadata"] = new JsonObject
                {
                    ["name"] = $"{item.Name}-{hash}",
                    ["labels"] = labelled.At("metadata", "labels")?.DeepClone(),
                    ["annotations"] = new JsonObject { ["deployment.kubernetes.io/revision"] = revision.ToString(System.Globalization.CultureInfo.InvariantCulture) },
                    ["ownerReferences"] = new JsonArray(OwnerOf(deployment.Value)),
                },
                ["spec"] = new JsonObject
                {
                    ["replicas"] = recreate && oldPods > 0 ? 0 : replicas, ["selector"] = selector, ["template"] = labelled
                },
            });
            Record(deployment.Value, "Normal", "ScalingReplicaSet", $"Scaled up replica set {item.Name}-{hash} from 0 to {replicas}");
            Enqueue(item);
            return;
        }

        if (current.Value.Number("spec", "replicas") != replicas && !(recreate && oldPods > 0))
        {
            Scale(deployment.Value, current, replicas);
        }

        var ready = current.Value.Number("status", "readyReplicas") ?? 0;
        if (!recreate && ready >= replicas)
        {
            foreach (var set in old.Where(s => s.Value.Number("spec", "replicas") > 0))
            {
                Scale(deployment.Value, set, 0);
            }
        }

        var all = sets.Select(s => Find(Sets, s.Namespace, s.Name)).OfType<StoredObject>().ToList();
        var total = all.Sum(s => s.Value.Number("status", "replicas") ?? 0);
        var readyAll = all.Sum(s => s.Value.Number("status", "readyReplicas") ?? 0);
        var updated = current.Value.Number("status", "replicas") ?? 0;
        Change(
            Deployments,
            item.Namespace,
            item.Name,
            o => o.Ensure("metadata").Ensure("annotations")["deployment.kubernetes.io/revision"] =
                current.Value.Text("metadata", "annotations", "deployment.kubernetes.io/revision"));
        Change(Deployments, item.Namespace, item.Name, o =>
        {
            var status = o.Ensure("status");
            status["observedGeneration"] = o.Number("metadata", "generation");
            foreach (var (field, value) in new[] { ("replicas", total), ("updatedReplicas", updated), ("readyReplicas", readyAll), ("availableReplicas", readyAll), ("unavailableReplicas", Math.Max(0, replicas - readyAll)) })
            {
                if (value == 0)
                {
                    status.Remove(field);
                }
                else
                {
                    status[field] = value;
                }
            }

            var available = readyAll >= replicas;
            SetCondition(
                status,
                "Available",
                available ? "True" : "False",
                available ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
                available ? "Deployment has minimum availability." : "Deployment does not have minimum availability.");
            var done = ready >= replicas && total == updated;
            SetCondition(
                status,
                "Progressing",
                "True",
                done ? "NewReplicaSetAvailable" : "ReplicaSetUpdated",
                done ? $"ReplicaSet \"{current.Name}\" has successfully progressed." : $"ReplicaSet \"{current.Name}\" is progressing.");
        }, status: true);
    }

    private void Scale(JsonObject deployment, StoredObject set, long replicas)
    {
        Record(
            deployment,
            "Normal",
            "ScalingReplicaSet",
            $"Scaled {(replicas > (set.Value.Number("spec", "replicas") ?? 0) ? "up" : "down")} replica set {set.Name} from "
                + $"{set.Value.Number("spec", "replicas")} to {replicas}");
        Change(Sets, set.Namespace, set.Name, o => o.Ensure("spec")["replicas"] = replicas);
    }

    private static string Hash(JsonObject template)
    {
        var bytes = SHA256.HashData(Encoding.UTF8.GetBytes(template.ToJsonString(Json.Options)));
        return string.Concat(bytes.Take(10).Select(b => "bcdfghjklmnpqrstvwxz2456789"[b % 27]));
    }
}
