// Why this exists: Jobs as Kubernetes runs them: counted through finalizers, failure policies, suspension, deadlines, conditions in the
// right order, time to live.
using System.Globalization;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>The Job controller and the TTL controller (one completion index; no Indexed mode).</summary>
public sealed class JobController(InProcessCluster cluster, OwnerIndex owners) : Controller(cluster, "job-controller")
{
    private const string Tracking = "batch.kubernetes.io/job-tracking";
    private static readonly ResourceKey Jobs = new("batch", "jobs");
    private readonly Dictionary<string, (int Failures, DateTimeOffset Last)> _backoff = new(StringComparer.Ordinal);
    private readonly HashSet<string> _seenFailed = new(StringComparer.Ordinal);

    /// <inheritdoc/>
    public override void OnWritten(ResourceKey key, StoreEvent e)
    {
        if (key == Jobs)
        {
            Enqueue(new WorkItem(key, e.After.Namespace, e.After.Name));
        }
        else if (key == ControllerManager.Pods)
        {
            var owner = e.After.Value.Items("metadata", "ownerReferences")
                .FirstOrDefault(r => r.Flag("controller") == true && r.Text("kind") == "Job");
            if (owner.Text("name") is { } name)
            {
                Enqueue(new WorkItem(Jobs, e.After.Namespace, name));
                if (Find(Jobs, e.After.Namespace, name)?.Uid != owner.Text("uid"))
                {
                    Enqueue(new WorkItem(ControllerManager.Pods, e.After.Namespace, e.After.Name));
                }
            }
        }
    }

    private List<StoredObject> PodsOf(string uid) =>
        [.. owners.Of(uid).Where(d => d.Key == ControllerManager.Pods).Select(d => Find(d.Key, d.Namespace, d.Name)).OfType<StoredObject>()
            .Where(p => ControllerOf(p.Value) == uid).OrderBy(p => p.Name, StringComparer.Ordinal)];

    private static bool IsTracked(StoredObject pod) => pod.Value.Items("metadata", "finalizers").Any(f => f.Text() == Tracking);

    private static bool IsDone(StoredObject pod) => pod.Value.Text("status", "phase") is "Succeeded" or "Failed";

    private static bool IsLeaving(StoredObject pod) => pod.Value.At("metadata", "deletionTimestamp") is not null;

    private void Untrack(StoredObject pod) => Change(ControllerManager.Pods, pod.Namespace, pod.Name, o =>
    {
        var list = o.Ensure("metadata").EnsureItems("finalizers");
        foreach (var gone in list.Where(f => f.Text() == Tracking).ToList())
        {
            list.Remove(gone);
        }

        if (list.Count == 0)
        {
            o.Ensure("metadata").Remove("finalizers");
        }
    });

    /// <inheritdoc/>
    protected override void Reconcile(WorkItem item)
    {
        if (item.Key == ControllerManager.Pods)
        {
            // A pod whose Job is gone keeps no finalizer for it.
            if (Find(item.Key, item.Namespace, item.Name) is { } orphan && IsTracked(orphan))
            {
                Untrack(orphan);
            }

            return;
        }

        if (Find(Jobs, item.Namespace, item.Name) is not { } stored)
        {
            return;
        }

        var job = stored.Value;
        if (job.Text("spec", "managedBy") is { Length: > 0 } manager && manager != "kubernetes.io/job-controller")
        {
            return;
        }

        var pods = PodsOf(stored.Uid);
        if (job.At("metadata", "deletionTimestamp") is not null)
        {
            foreach (var pod in pods.Where(IsTracked))
            {
                Untrack(pod);
            }

            return;
        }

        if (Has(job, "Complete") || Has(job, "Failed"))
        {
            foreach (var pod in pods.Where(IsTracked))
            {
                Untrack(pod);
            }

            Expire(item, job);
            return;
        }

        Sync(item, stored, pods);
    }

    private void Expire(WorkItem item, JsonObject job)
    {
        if (job.Number("spec", "ttlSecondsAfterFinished") is not { } ttl)
        {
            return;
        }

        var finished = job.Items("status", "conditions").Where(c => c.Text("type") is "Complete" or "Failed" && c.Text("status") == "True")
            .Select(c => c.TimeAt("lastTransitionTime")).FirstOrDefault() ?? Now;
        var left = finished.AddSeconds(ttl) - Now;
        if (left <= TimeSpan.Zero)
        {
            Delete(Jobs, item.Namespace, item.Name, new DeleteRequest(null, "Foreground", job.Text("metadata", "uid")));
        }
        else
        {
            EnqueueAfter(item, left + TimeSpan.FromMilliseconds(50));
        }
    }

    private void Sync(WorkItem item, StoredObject stored, List<StoredObject> pods)
    {
        var job = stored.Value;
        var status = job.Map("status")?.Copy() ?? [];
        var spec = job["spec"]!;
        var suspended = spec.Flag("suspend") == true;
        var onlyFailed = spec.Text("podReplacementPolicy") == "Failed";
        var policy = spec.At("podFailurePolicy");
        var events = new List<(string Type, string Reason, string Message)>();

        // 1. Pods that ended since are written down before their finalizer goes, so that none is counted twice or lost.
        var uncounted = status.Ensure("uncountedTerminatedPods");
        var succeededUids = uncounted.EnsureItems("succeeded").Select(u => u.Text()!).ToHashSet();
        var failedUids = uncounted.EnsureItems("failed").Select(u => u.Text()!).ToHashSet();
        var ignored = new HashSet<string>();
        string? failJob = null;
        foreach (var pod in pods.Where(IsTracked))
        {
            var phase = pod.Value.Text("status", "phase");
            if (phase == "Succeeded")
            {
                succeededUids.Add(pod.Uid);
            }
            else if (phase == "Failed" || (IsLeaving(pod) && !onlyFailed))
            {
                var (action, why) = policy is null ? ("Count", "") : Judge(policy, pod.Value);
                if (action == "Ignore")
                {
                    ignored.Add(pod.Uid);
                    continue;
                }

                if (action == "FailJob")
                {
                    failJob ??= why;
                }

                failedUids.Add(pod.Uid);
                if (_seenFailed.Add(pod.Uid))
                {
                    _backoff[stored.Uid] = (_backoff.GetValueOrDefault(stored.Uid).Failures + 1, Now);
                }
            }
        }

        uncounted["succeeded"] = new JsonArray([.. succeededUids.Select(u => (JsonNode)u)]);
        uncounted["failed"] = new JsonArray([.. failedUids.Select(u => (JsonNode)u)]);
        var counted = (Succeeded: status.Number("succeeded") ?? 0, Failed: status.Number("failed") ?? 0);
        var succeeded = counted.Succeeded + succeededUids.Count;
        var failed = counted.Failed + failedUids.Count;

        // 2. What the job has come to.
        if (!suspended && status["startTime"] is null)
        {
            status["startTime"] = Json.Time(Now);
        }

        var active = pods.Where(p => !IsDone(p) && !IsLeaving(p)).ToList();
        var terminating = pods.Count(p => IsLeaving(p) && !IsDone(p));
        var completions = spec.Number("completions");
        var limit = spec.Number("backoffLimit") ?? 6;
        var restarts = spec.Text("template", "spec", "restartPolicy") == "OnFailure"
            ? pods.SelectMany(p => p.Value.Items("status", "containerStatuses")).Sum(c => c.Number("restartCount") ?? 0)
            : 0;
        var target = status.Items("conditions").FirstOrDefault(c => c.Text("type") == "FailureTarget" && c.Text("status") == "True");
        (string Reason, string Message)? failure = target is not null ? (target.Text("reason") ?? "", target.Text("message") ?? "") : null;
        var met = status.Items("conditions").Any(c => c.Text("type") == "SuccessCriteriaMet" && c.Text("status") == "True");
        if (failure is null && !met)
        {
            if (failJob is not null)
            {
                failure = ("PodFailurePolicy", failJob);
            }
            else if (failed > limit || restarts > limit)
            {
                failure = ("BackoffLimitExceeded", "Job has reached the specified backoff limit");
            }
            else if (!suspended && spec.Number("activeDeadlineSeconds") is { } deadline && status.TimeAt("startTime") is { } start)
            {
                var left = start.AddSeconds(deadline) - Now;
                if (left <= TimeSpan.Zero)
                {
                    failure = ("DeadlineExceeded", "Job was active longer than specified deadline");
                }
                else
                {
                    EnqueueAfter(item, left + TimeSpan.FromMilliseconds(50));
                }
            }
        }

        var complete = failure is null && (met || (completions is { } wanted ? succeeded >= wanted : succeeded > 0 && active.Count == 0));
        var deleted = false;
        if (failure is { } f)
        {
            SetCondition(status, "FailureTarget", "True", f.Reason, f.Message);
            deleted = active.Count > 0;
            DeletePods(active);
        }
        else if (complete)
        {
            SetCondition(status, "SuccessCriteriaMet", "True", "CompletionsReached", "Reached expected number of succeeded pods");
            deleted = active.Count > 0;
            DeletePods(active);
        }
        else if (suspended)
        {
            if (SetCondition(status, "Suspended", "True", "JobSuspended", "Job suspended"))
            {
                events.Add(("Normal", "Suspended", "Job suspended"));
            }

            status.Remove("startTime");
            deleted = active.Count > 0;
            DeletePods(active);
        }
        else
        {
            if (status.Items("conditions").Any(c => c.Text("type") == "Suspended")
                && SetCondition(status, "Suspended", "False", "JobResumed", "Job resumed"))
            {
                events.Add(("Normal", "Resumed", "Job resumed"));
                status["startTime"] = Json.Time(Now);
            }
        }

        status["active"] = deleted ? 0 : active.Count;
        status["ready"] = deleted ? 0 : active.Count(p => Has(p.Value, "Ready"));
        status["terminating"] = deleted ? terminating + active.Count : terminating;
        if (active.Count == 0 || deleted)
        {
            status.Remove("active");
        }

        // 3. Written down; then the finalizers go; then the counts move.
        if (!WriteStatus(item, stored, status))
        {
            Enqueue(item);
            return;
        }

        foreach (var (type, reason, message) in events)
        {
            Record(job, type, reason, message);
        }

        foreach (var pod in pods.Where(p => IsTracked(p) && (succeededUids.Contains(p.Uid) || failedUids.Contains(p.Uid) || ignored.Contains(p.Uid))))
        {
            // A pod still on its way out is left tracked until it has ended, so that its end is seen.
            if (IsDone(pod) || !onlyFailed)
            {
                Untrack(pod);
            }
        }

        if (succeededUids.Count + failedUids.Count > 0)
        {
            status["succeeded"] = succeeded;
            status["failed"] = failed;
            foreach (var name in new[] { "succeeded", "failed" })
            {
                if (status.Number(name) == 0)
                {
                    status.Remove(name);
                }
            }

            status["uncountedTerminatedPods"] = new JsonObject();
        }

        var stillThere = PodsOf(stored.Uid).Any(p => !IsDone(p));
        if (failure is { } end && !stillThere)
        {
            SetCondition(status, "Failed", "True", end.Reason, end.Message);
            status["terminating"] = 0;
            Record(job, "Warning", end.Reason, end.Message);
        }
        else if (complete && !stillThere)
        {
            SetCondition(status, "Complete", "True", "CompletionsReached", "Reached expected number of succeeded pods");
            status["completionTime"] = Json.Time(Now);
            status["terminating"] = 0;
            Record(job, "Normal", "Completed", "Job completed");
        }

        if (Find(Jobs, item.Namespace, item.Name) is { } current && current.Uid == stored.Uid && !WriteStatus(item, current, status))
        {
            Enqueue(item);
            return;
        }

        if (failure is null && !complete && !suspended)
        {
            // From the pods that were counted above: one that ended since would be replaced before its success is known.
            Fill(item, stored, pods, completions, succeeded, onlyFailed);
        }
    }

    private bool WriteStatus(WorkItem item, StoredObject stored, JsonObject status)
    {
        var next = stored.Value.Copy();
        var clean = status.Copy();
        foreach (var list in new[] { "succeeded", "failed" })
        {
            if (clean.Items("uncountedTerminatedPods", list).Count == 0)
            {
                clean.Map("uncountedTerminatedPods")?.Remove(list);
            }
        }

        next["status"] = clean;
        if (Json.Same(next, stored.Value))
        {
            return true;
        }

        try
        {
            Resources.Update(Cluster.Kind("batch/v1", "Job"), item.Namespace, item.Name, next, StatusContext);
            return true;
        }
        catch (ApiException e) when (e.Code is 409 or 404)
        {
            return false;
        }
    }

    private void DeletePods(List<StoredObject> pods)
    {
        foreach (var pod in pods)
        {
            Delete(ControllerManager.Pods, pod.Namespace, pod.Name, new DeleteRequest(Uid: pod.Uid));
        }
    }

    private void Fill(WorkItem item, StoredObject stored, List<StoredObject> pods, long? completions, long succeeded, bool onlyFailed)
    {
        var job = stored.Value;
        var present = pods.Count(p => !IsDone(p) && (onlyFailed || !IsLeaving(p)));
        var parallelism = job.Number("spec", "parallelism") ?? 1;
        var wanted = completions is { } c ? Math.Min(parallelism, c - succeeded) : succeeded > 0 ? present : parallelism;
        var active = pods.Where(p => !IsDone(p) && !IsLeaving(p)).ToList();
        if (active.Count > wanted)
        {
            DeletePods([.. active.Skip((int)Math.Max(0, wanted))]);
            return;
        }

        if (present >= wanted)
        {
            return;
        }

        if (_backoff.TryGetValue(stored.Uid, out var back) && back.Failures > 0)
        {
            var pause = TimeSpan.FromSeconds(Math.Min(600, Cluster.Options.JobBackoff.TotalSeconds * Math.Pow(2, back.Failures - 1)));
            var left = back.Last + pause - Now;
            if (left > TimeSpan.Zero)
            {
                EnqueueAfter(item, left + TimeSpan.FromMilliseconds(20));
                return;
            }
        }

        var template = job.At("spec", "template")!;
        for (var i = present; i < wanted; i++)
        {
            var prefix = item.Name.Length > 57 ? item.Name[..57] : item.Name;
            var metadata = template.Map("metadata")?.Copy() ?? [];
            metadata.Remove("creationTimestamp");
            metadata["generateName"] = prefix + "-";
            metadata["namespace"] = item.Namespace;
            metadata["ownerReferences"] = new JsonArray(OwnerOf(job));
            metadata.EnsureItems("finalizers").Add(Tracking);
            try
            {
                var pod = Create(
                    "v1", "Pod", item.Namespace, new JsonObject { ["metadata"] = metadata, ["spec"] = template.At("spec")!.DeepClone() });
                Record(job, "Normal", "SuccessfulCreate", $"Created pod: {pod.Text("metadata", "name")}");
            }
            catch (ApiException e)
            {
                Record(job, "Warning", "FailedCreate", $"Error creating: {e.Message}");
                throw;
            }
        }
    }

    /// <summary>What the pod failure policy says of a failed pod: the first rule that matches.</summary>
    private static (string Action, string Why) Judge(JsonNode policy, JsonObject pod)
    {
        var index = 0;
        foreach (var rule in policy.Items("rules"))
        {
            var action = rule.Text("action") ?? "Count";
            if (rule.At("onExitCodes") is { } codes)
            {
                foreach (var container in pod.Items("status", "containerStatuses").Concat(pod.Items("status", "initContainerStatuses")))
                {
                    if (codes.Text("containerName") is { } only && only != container.Text("name"))
                    {
                        continue;
                    }

                    if (container.Number("state", "terminated", "exitCode") is not { } exit || exit == 0)
                    {
                        continue;
                    }

                    var listed = codes.Items("values").Any(v => Json.AsLong(v) == exit);
                    if (listed == (codes.Text("operator") == "In"))
                    {
                        return (action, string.Create(CultureInfo.InvariantCulture,
                            $"Container {container.Text("name")} for pod "
                                + $"{pod.Text("metadata", "namespace")}/{pod.Text("metadata", "name")} failed with exit code {exit} "
                                    + $"matching {action} rule at index {index}"));
                    }
                }
            }

            foreach (var pattern in rule.Items("onPodConditions"))
            {
                if (pod.Items("status", "conditions").Any(c => c.Text("type") == pattern.Text("type") && c.Text("status") == (pattern.Text("status") ?? "True")))
                {
                    return (action, $"Pod {pod.Text("metadata", "namespace")}/{pod.Text("metadata", "name")} has condition "
                        + $"{pattern.Text("type")} matching {action} rule at index {index}");
                }
            }

            index++;
        }

        return ("Count", "");
    }
}
