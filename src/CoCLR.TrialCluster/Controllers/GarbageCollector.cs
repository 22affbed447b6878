// Why this exists: what belongs to something that is gone goes too; foreground and orphan deletion; the end of a namespace; claims in use.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Owner references, foreground deletion, orphaning.</summary>
public sealed class GarbageCollector(InProcessCluster cluster, OwnerIndex owners) : Controller(cluster, "generic-garbage-collector")
{
    /// <inheritdoc/>
    public override void OnWritten(ResourceKey key, StoreEvent e)
    {
        var item = new WorkItem(key, e.After.Namespace, e.After.Name);
        if (e.Deleted)
        {
            foreach (var dependent in owners.Of(e.After.Uid))
            {
                Enqueue(dependent);
            }

            EnqueueOwners(e.After);
            return;
        }

        var terminating = e.After.Value.At("metadata", "deletionTimestamp") is not null;
        if (terminating || (e.After.Value.Items("metadata", "ownerReferences").Count > 0
            && (
                e.Before is null
                    || !Json.Same(e.Before.Value.At("metadata", "ownerReferences"), e.After.Value.At("metadata", "ownerReferences")))))
        {
            Enqueue(item);
        }
    }

    private void EnqueueOwners(StoredObject dependent)
    {
        foreach (var owner in dependent.Value.Items("metadata", "ownerReferences"))
        {
            if (Resolve(owner, dependent.Namespace) is { Known: true, Owner: { } found, Key: var key })
            {
                Enqueue(new WorkItem(key, found.Namespace, found.Name));
            }
        }
    }

    private (bool Known, StoredObject? Owner, ResourceKey Key) Resolve(JsonNode? reference, string ns)
    {
        if (Resources.Registry.FindKind(reference.Text("apiVersion") ?? "", reference.Text("kind") ?? "") is not { } kind)
        {
            return (false, null, default);
        }

        // An owner in another namespace is no owner: names are looked up beside the dependent.
        var owner = Find(kind.Key, kind.Namespaced ? ns : "", reference.Text("name") ?? "");
        return (true, owner?.Uid == reference.Text("uid") ? owner : null, kind.Key);
    }

    /// <inheritdoc/>
    protected override void Reconcile(WorkItem item)
    {
        if (Find(item.Key, item.Namespace, item.Name) is not { } stored)
        {
            return;
        }

        var finalizers = stored.Value.Items("metadata", "finalizers").Select(f => f.Text()).ToList();
        if (stored.Value.At("metadata", "deletionTimestamp") is not null)
        {
            if (finalizers.Contains("orphan"))
            {
                Orphan(stored);
                RemoveFinalizer(item, "orphan");
            }
            else if (finalizers.Contains("foregroundDeletion"))
            {
                Foreground(item, stored);
            }
        }

        var references = stored.Value.Items("metadata", "ownerReferences");
        if (references.Count == 0)
        {
            return;
        }

        var resolved = references.Select(r => (Reference: r, Found: Resolve(r, item.Namespace))).ToList();
        if (resolved.Exists(r => !r.Found.Known))
        {
            return;
        }

        var absent = resolved.Where(r => r.Found.Owner is null).ToList();
        var leaving = resolved.Where(r => r.Found.Owner is { } o && IsLeaving(o)).ToList();
        if (absent.Count + leaving.Count < resolved.Count)
        {
            if (absent.Count > 0)
            {
                Change(item.Key, item.Namespace, item.Name, o =>
                {
                    var list = o.Ensure("metadata").EnsureItems("ownerReferences");
                    foreach (var gone in list.Where(r => absent.Exists(a => a.Reference.Text("uid") == r.Text("uid"))).ToList())
                    {
                        list.Remove(gone);
                    }
                });
            }

            return;
        }

        if (stored.Value.At("metadata", "deletionTimestamp") is null)
        {
            var policy = leaving.Count > 0 ? "Foreground" : "Background";
            Delete(
                item.Key,
                item.Namespace,
                item.Name,
                new DeleteRequest(
                    null, finalizers.Contains("orphan") || finalizers.Contains("foregroundDeletion") ? null : policy, stored.Uid));
        }
    }

    private static bool IsLeaving(StoredObject owner) =>
        owner.Value.At("metadata", "deletionTimestamp") is not null
            && owner.Value.Items("metadata", "finalizers").Any(f => f.Text() == "foregroundDeletion");

    private void Foreground(WorkItem item, StoredObject owner)
    {
        var blocking = false;
        foreach (var dependent in owners.Of(owner.Uid))
        {
            if (Find(dependent.Key, dependent.Namespace, dependent.Name) is not { } found)
            {
                continue;
            }

            var reference = found.Value.Items("metadata", "ownerReferences").FirstOrDefault(r => r.Text("uid") == owner.Uid);
            blocking |= reference.Flag("blockOwnerDeletion") == true;
            if (found.Value.At("metadata", "deletionTimestamp") is null)
            {
                Enqueue(dependent);
            }
        }

        if (!blocking)
        {
            RemoveFinalizer(item, "foregroundDeletion");
        }
    }

    private void Orphan(StoredObject owner)
    {
        foreach (var dependent in owners.Of(owner.Uid))
        {
            Change(dependent.Key, dependent.Namespace, dependent.Name, o =>
            {
                var list = o.Ensure("metadata").EnsureItems("ownerReferences");
                foreach (var gone in list.Where(r => r.Text("uid") == owner.Uid).ToList())
                {
                    list.Remove(gone);
                }
            });
        }
    }

    private void RemoveFinalizer(WorkItem item, string finalizer) => Change(item.Key, item.Namespace, item.Name, o =>
    {
        var list = o.Ensure("metadata").EnsureItems("finalizers");
        foreach (var gone in list.Where(f => f.Text() == finalizer).ToList())
        {
            list.Remove(gone);
        }
    });
}

/// <summary>Empties namespaces that are deleted, and gives new ones their service account.</summary>
public sealed class NamespaceController(InProcessCluster cluster) : Controller(cluster, "namespace-controller")
{
    private static readonly ResourceKey Namespaces = new("", "namespaces");

    /// <inheritdoc/>
    public override void OnWritten(ResourceKey key, StoreEvent e)
    {
        if (key == Namespaces)
        {
            if (!e.Deleted)
            {
                Enqueue(new WorkItem(key, "", e.After.Name));
            }

            return;
        }

        if (e.Deleted && e.After.Namespace.Length > 0
            && (
                key.Plural == "serviceaccounts"
                    || Find(Namespaces, "", e.After.Namespace)?.Value.At("metadata", "deletionTimestamp") is not null))
        {
            Enqueue(new WorkItem(Namespaces, "", e.After.Namespace));
        }
    }

    /// <inheritdoc/>
    protected override void Reconcile(WorkItem item)
    {
        if (Find(Namespaces, "", item.Name) is not { } ns)
        {
            return;
        }

        if (ns.Value.At("metadata", "deletionTimestamp") is null)
        {
            Furnish(item.Name);
            return;
        }

        var left = 0;
        foreach (var key in Cluster.Store.Keys())
        {
            foreach (var stored in Cluster.Store.All(key).Where(o => o.Namespace == item.Name))
            {
                left++;
                if (stored.Value.At("metadata", "deletionTimestamp") is null)
                {
                    Delete(key, stored.Namespace, stored.Name, new DeleteRequest(null, "Background"));
                }
            }
        }

        left = Cluster.Store.Keys().Sum(key => Cluster.Store.All(key).Count(o => o.Namespace == item.Name));
        if (left > 0)
        {
            Change(
                Namespaces,
                "",
                item.Name,
                o => SetCondition(
                    o.Ensure("status"),
                    "NamespaceContentRemaining",
                    "True",
                    "SomeResourcesRemain",
                    $"Some resources are remaining: {left} objects"),
                status: true);
            return;
        }

        if (ns.Value.Items("metadata", "finalizers").Count == 0 && Find(Namespaces, "", item.Name) is { } empty
            && Cluster.Store.TrySwap(Namespaces, empty, null) is null)
        {
            Enqueue(item);
        }
    }

    private void Furnish(string ns)
    {
        if (Find(new ResourceKey("", "serviceaccounts"), ns, "default") is null)
        {
            Create("v1", "ServiceAccount", ns, new JsonObject { ["metadata"] = new JsonObject { ["name"] = "default" } });
        }

        if (Find(new ResourceKey("", "configmaps"), ns, "kube-root-ca.crt") is null)
        {
            Create("v1", "ConfigMap", ns, new JsonObject
            {
                ["metadata"] = new JsonObject { ["name"] = "kube-root-ca.crt" },
                ["data"] = new JsonObject { ["ca.crt"] = Cluster.CertificateAuthority },
            });
        }
    }
}

/// <summary>Binds claims to folders, and keeps claims that are in use.</summary>
public sealed class ClaimController(InProcessCluster cluster) : Controller(cluster, "persistentvolume-binder")
{
    /// <summary>Table of claims.</summary>
    public static readonly ResourceKey Claims = new("", "persistentvolumeclaims");

    private static readonly ResourceKey Classes = new("storage.k8s.io", "storageclasses");
    private static readonly ResourceKey Volumes = new("", "persistentvolumes");

    /// <inheritdoc/>
    public override void OnWritten(ResourceKey key, StoreEvent e)
    {
        if (key == Claims)
        {
            if (!e.Deleted)
            {
                Enqueue(new WorkItem(key, e.After.Namespace, e.After.Name));
            }
            else if (e.After.Value.Text("spec", "volumeName") is { } volume)
            {
                Enqueue(new WorkItem(Volumes, "", volume));
            }
        }
        else if (key == Classes)
        {
            foreach (var claim in Cluster.Store.All(Claims))
            {
                Enqueue(new WorkItem(Claims, claim.Namespace, claim.Name));
            }
        }
        else if (key == ControllerManager.Pods && (e.Deleted || e.After.Value.Text("status", "phase") is "Succeeded" or "Failed"))
        {
            foreach (var name in ClaimsOf(e.After.Value))
            {
                Enqueue(new WorkItem(Claims, e.After.Namespace, name));
            }
        }
    }

    private static IEnumerable<string> ClaimsOf(JsonObject pod) =>
        pod.Items("spec", "volumes").Select(v => v.Text("persistentVolumeClaim", "claimName")).OfType<string>();

    /// <inheritdoc/>
    protected override void Reconcile(WorkItem item)
    {
        if (item.Key == Volumes)
        {
            Delete(Volumes, "", item.Name);
            return;
        }

        if (Find(Claims, item.Namespace, item.Name) is not { } stored)
        {
            return;
        }

        var claim = stored.Value;
        if (claim.At("metadata", "deletionTimestamp") is not null)
        {
            var used = Cluster.Store.All(ControllerManager.Pods)
                .Any(
                    p => p.Namespace == item.Namespace && p.Value.Text("status", "phase") is not ("Succeeded" or "Failed")
                        && ClaimsOf(p.Value).Contains(item.Name));
            if (!used)
            {
                Change(Claims, item.Namespace, item.Name, o => o.Ensure("metadata").Remove("finalizers"));
            }

            return;
        }

        if (claim.Text("status", "phase") == "Bound")
        {
            return;
        }

        var className = claim.Text("spec", "storageClassName") ?? "";
        if (claim.Text("status", "phase") is null)
        {
            Change(Claims, item.Namespace, item.Name, o => o.Ensure("status")["phase"] = "Pending", status: true);
        }

        if (className.Length == 0)
        {
            Record(claim, "Normal", "FailedBinding", "no persistent volumes available for this claim and no storage class is set");
            return;
        }

        if (Find(Classes, "", className) is not { } storageClass)
        {
            Record(claim, "Warning", "ProvisioningFailed", $"storageclass.storage.k8s.io \"{className}\" not found");
            return;
        }

        var volume = $"pvc-{stored.Uid}";
        var size = claim.At("spec", "resources", "requests", "storage")?.DeepClone() ?? "1Gi";
        if (Find(Volumes, "", volume) is null)
        {
            Create("v1", "PersistentVolume", "", new JsonObject
            {
                ["metadata"] = new JsonObject { ["name"] = volume },
                ["spec"] = new JsonObject
                {
                    ["capacity"] = new JsonObject { ["storage"] = size.DeepClone() },
                    ["accessModes"] = claim.At("spec", "accessModes")?.DeepClone(),
                    ["storageClassName"] = className,
                    ["persistentVolumeReclaimPolicy"] = storageClass.Value.Text("reclaimPolicy") ?? "Delete",
                    ["claimRef"] = new JsonObject
                    {
                        ["kind"] = "PersistentVolumeClaim", ["namespace"] = item.Namespace, ["name"] = item.Name, ["uid"] = stored.Uid
                    },
                    ["hostPath"] = new JsonObject { ["path"] = Path.Combine(Cluster.Folder, "claims", item.Namespace, item.Name) },
                },
            });
        }

        Change(Claims, item.Namespace, item.Name, o => o.Ensure("spec")["volumeName"] = volume);
        Change(Claims, item.Namespace, item.Name, o => o["status"] = new JsonObject
        {
            ["phase"] = "Bound",
            ["accessModes"] = o.At("spec", "accessModes")?.DeepClone(),
            ["capacity"] = new JsonObject { ["storage"] = size.DeepClone() },
        }, status: true);
    }
}

/// <summary>Counts what disruption budgets allow.</summary>
public sealed class BudgetController(InProcessCluster cluster) : Controller(cluster, "disruption-controller")
{
    private static readonly ResourceKey Budgets = new("policy", "poddisruptionbudgets");

    /// <inheritdoc/>
    public override void OnWritten(ResourceKey key, StoreEvent e)
    {
        if (key == Budgets && !e.Deleted)
        {
            Enqueue(new WorkItem(key, e.After.Namespace, e.After.Name));
        }
        else if (key == ControllerManager.Pods)
        {
            foreach (var budget in Cluster.Store.All(Budgets).Where(b => b.Namespace == e.After.Namespace))
            {
                Enqueue(new WorkItem(Budgets, budget.Namespace, budget.Name));
            }
        }
    }

    /// <inheritdoc/>
    protected override void Reconcile(WorkItem item)
    {
        if (Find(Budgets, item.Namespace, item.Name) is not { } budget)
        {
            return;
        }

        var pods = Cluster.Store.All(ControllerManager.Pods)
            .Where(p => p.Namespace == item.Namespace && p.Value.Text("status", "phase") is not ("Succeeded" or "Failed")
            && Selector.Matches(budget.Value.At("spec", "selector"), p.Value.At("metadata", "labels"))).ToList();
        var healthy = pods.Count(p => Has(p.Value, "Ready"));
        long Count(JsonNode? value, bool up) => value.Text() is { } text && text.EndsWith('%')
            ? (long)(up ? Math.Ceiling(pods.Count * double.Parse(text[..^1], System.Globalization.CultureInfo.InvariantCulture) / 100) : 0)
            : Json.AsLong(value) ?? 0;
        var wanted = budget.Value.At("spec", "minAvailable") is { } min
            ? Count(min, true)
            : pods.Count - Count(budget.Value.At("spec", "maxUnavailable"), true);
        Change(Budgets, item.Namespace, item.Name, o =>
        {
            var status = o.Ensure("status");
            status["observedGeneration"] = o.Number("metadata", "generation");
            status["currentHealthy"] = healthy;
            status["desiredHealthy"] = wanted;
            status["expectedPods"] = pods.Count;
            status["disruptionsAllowed"] = Math.Max(0, healthy - wanted);
        }, status: true);
    }
}
