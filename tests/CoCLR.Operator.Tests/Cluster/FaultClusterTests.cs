// Why this exists: the whole operator against a faulty API server.
using System.Net;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Tests.Harness;
using CoCLR.TrialCluster;
using ApiException = CoCLR.Cluster.ApiException;

namespace CoCLR.Operator.Tests.Cluster;

public class FaultClusterTests
{
    private const string Experiments = "coclrexperiments.coclr.dev";

    [Fact]
    public async Task Crds_InstalledLater_OperatorRecoversByItself()
    {
        await using Arena arena = await Arena.StartAsync(crds: false);
        TestOperator operatr = await arena.StartOperatorAsync(ready: false);
        await Arena.UntilAsync(
            "it says what is missing",
            () =>
                Task.FromResult(
                    operatr.Runtime.Problems.Any(
                        p => p.Contains("coclrexperiments.coclr.dev", StringComparison.Ordinal)
                            && p.Contains("not installed", StringComparison.Ordinal))));
        Assert.Equal(
            1,
            operatr.Loggers.Lines.Count(
                l => l.Text.Contains("coclrexperiments.coclr.dev v1alpha1 is not installed", StringComparison.Ordinal)));
        await arena.InstallCrdsAsync();
        await Arena.UntilAsync("it is ready", () => Task.FromResult(operatr.Runtime.Problems.Count == 0));
        await arena.ApplyAsync(arena.Experiment("late"));
        await arena.Play.JobAsync("late", "decode");
    }

    [Fact]
    public async Task Experiment_Unreadable_AffectsOnlyItself()
    {
        await using Arena arena = await Arena.StartAsync();
        JsonObject poison = arena.Experiment("poison", ("training.method", "FromAnOlderSchema"));
        arena.Cluster.StoreUnchecked(poison);
        JsonObject worse = arena.Experiment("worse");
        worse["spec"] = "no object at all";
        arena.Cluster.StoreUnchecked(worse);
        await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("fine"));
        await arena.Play.JobAsync("fine", "decode");
        await arena.StateAsync("fine", "Starting");
        Assert.Single(await arena.ListAsync(ResourceKind.Job));
    }

    [Fact]
    public async Task AtRest_NothingIsWritten()
    {
        await using Arena arena = await Arena.StartAsync();
        TestOperator operatr = await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("one"));
        await arena.ApplyAsync(arena.Experiment("two", ("suspend", true)));
        await arena.ApplyAsync(arena.Experiment("three", ("storage.claimName", "missing")));
        JsonObject job = await arena.Play.JobAsync("one", "decode");
        JsonObject pod = await arena.Play.PodAsync(job);
        await arena.Play.RunAsync(pod);
        await arena.StateAsync("one", "Training");
        await arena.StateAsync("two", "Suspended");
        await arena.StateAsync("three", "Waiting");
        await Arena.UntilAsync("nothing is left to do", () => Task.FromResult(operatr.Runtime.IdleFor(TimeSpan.Zero)));
        int toFirstPod = arena.Cluster.Log.Writes.Count(
            w => w.UserAgent != "x" && (w.Name.StartsWith("one", StringComparison.Ordinal) || w.Resource == "events"));
        arena.Cluster.Log.Clear();

        // Events of its own writes and a restart change nothing either.
        await operatr.StopAsync();
        TestOperator again = await arena.StartOperatorAsync();
        await Arena.UntilAsync("nothing is left to do, now or soon", () => Task.FromResult(again.Runtime.IdleFor(TimeSpan.FromSeconds(5))));
        Assert.Empty(arena.Cluster.Log.Writes.Select(w => $"{w.Verb} {w.Resource} {w.Name}"));
        Assert.True(toFirstPod > 0);
    }

    [Fact]
    public async Task Status_Conflict_IsWrittenAfterAll()
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        Fault conflict = arena.Cluster.Faults.ConflictOnce(Experiments + "/status", times: 3);
        await arena.ApplyAsync(arena.Experiment("a"));
        await arena.StateAsync("a", "Starting");
        Assert.Equal(3, conflict.Hits);
    }

    [Fact]
    public async Task Server_AsksToComeBackLater_IsObeyedByAllWrites()
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        string[] ours = ["configmaps", "persistentvolumeclaims", "jobs.batch", Experiments + "/status", "events"];
        arena.Cluster.Faults.TooManyRequests(t => t.IsWrite && ours.Contains(t.Resource), retryAfter: 2, times: 1);
        arena.Cluster.Log.Clear();
        for (int i = 0; i < 5; i++)
        {
            await arena.ApplyAsync(arena.Experiment($"e{i}"));
        }

        for (int i = 0; i < 5; i++)
        {
            await arena.Play.JobAsync($"e{i}", "decode");
        }

        var writes = arena.Cluster.Log.Writes.Where(w => ours.Contains(w.Resource)).OrderBy(w => w.Time).ToArray();
        DateTimeOffset refused = writes.First(w => w.Status == 429).Time;
        Assert.DoesNotContain(writes, w => w.Time > refused.AddSeconds(0.3) && w.Time < refused.AddSeconds(1.8));
    }

    [Fact]
    public async Task Server_Away_NothingBreaksAndEverythingCatchesUp()
    {
        await using Arena arena = await Arena.StartAsync();
        TestOperator operatr = await arena.StartOperatorAsync(new TestOperatorOptions
        {
            LeaderElect = true,
            Leader = new LeaderOptions
            {
                Namespace = arena.Namespace, Identity = "a", LeaseDuration = TimeSpan.FromSeconds(3),
                RenewDeadline = TimeSpan.FromSeconds(2), RetryPeriod = TimeSpan.FromMilliseconds(200)
            },
        });
        await arena.ApplyAsync(arena.Experiment("a"));
        JsonObject job = await arena.Play.JobAsync("a", "decode");
        arena.Cluster.Faults.Cut();
        await Arena.UntilAsync("its lease has run out", () => Task.FromResult(!operatr.Runtime.Leads));
        arena.Cluster.Faults.Restore();
        arena.Cluster.Faults.DropConnections();
        JsonObject pod = await arena.Play.PodAsync(job);
        await arena.Play.RunAsync(pod);
        await arena.StateAsync("a", "Training");
        Assert.Equal(job["metadata"]!["uid"]!.ToString(), (await arena.Play.JobAsync("a", "decode"))["metadata"]!["uid"]!.ToString());
    }

    // Killed at every write, before and after it is stored.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Operator_KilledAtEveryWrite_LeavesExactlyOneOfEverything(bool stored)
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.ApplyAsync(arena.Experiment("a"));
        int kills = 0;
        for (int attempt = 1; attempt <= 12; attempt++)
        {
            var killed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            int writes = 0;
            TestOperator operatr = null!;
            var ready = new TaskCompletionSource();
            operatr = await arena.StartOperatorAsync(new TestOperatorOptions
            {
                BeforeWrite = async what =>
                {
                    await ready.Task;
                    if (++writes == (stored ? 2 : 1) && !what.Contains("events", StringComparison.Ordinal))
                    {
                        // The write before this one is stored; this one never leaves.
                        operatr.Runtime.Abandon();
                        killed.TrySetResult();
                    }
                },
            }, ready: false);
            ready.SetResult();
            Task first = await Task.WhenAny(killed.Task, Settled(arena, operatr));
            await operatr.KillAsync();
            if (first != killed.Task)
            {
                break;
            }

            kills++;
        }

        await arena.StartOperatorAsync();
        await arena.StateAsync("a", "Starting");
        Assert.Single(await arena.ListAsync(ResourceKind.Job));
        Assert.Single(await arena.ListAsync(ResourceKind.Claim));
        Assert.Single(await arena.ListAsync(ResourceKind.ConfigMap, "coclr.dev/experiment=a"));
        Assert.True(kills >= (stored ? 2 : 1));
    }

    private static async Task Settled(Arena arena, TestOperator operatr)
    {
        await arena.StateAsync("a", "Starting");
        await Arena.UntilAsync("nothing is left to do", () => Task.FromResult(operatr.Runtime.IdleFor(TimeSpan.Zero)));
    }

    // The answer to a stored write never arrives.
    [Theory]
    [InlineData("configmaps")]
    [InlineData("persistentvolumeclaims")]
    [InlineData("jobs.batch")]
    [InlineData(Experiments + "/status")]
    public async Task Answer_NeverArrives_ThereIsStillOneOfEverything(string resource)
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        Fault cut =
            arena.Cluster.Faults.Add(new Fault { Kind = FaultKind.CutAfter, Times = 2, When = t => t.IsWrite && t.Resource == resource });
        await arena.ApplyAsync(arena.Experiment("a"));
        await arena.StateAsync("a", "Starting");
        Assert.True(cut.Hits > 0);
        Assert.Single(await arena.ListAsync(ResourceKind.Job));
        Assert.Single(await arena.ListAsync(ResourceKind.Claim));
    }

    [Theory]
    [InlineData("jobs")]
    [InlineData("configmaps")]
    [InlineData("persistentvolumeclaims")]
    public async Task Name_BelongsToSomethingElse_StallsWithoutTouchingItAndHeals(string plural)
    {
        await using Arena arena = await Arena.StartAsync();
        JsonObject made = await arena.ApplyAsync(arena.Experiment("a"));
        string uid = made["metadata"]!["uid"]!.ToString();
        ResourceKind kind = plural switch { "jobs" => ResourceKind.Job, "configmaps" => ResourceKind.ConfigMap, _ => ResourceKind.Claim };
        string name =
            CoCLR.Operator.Api.ChildNames.Child("a", uid, plural switch { "jobs" => "decode", "configmaps" => "plan", _ => "run" });
        JsonObject foreign = Arena.Parse(plural switch
        {
            "jobs" => $"{{apiVersion: batch/v1, kind: Job, metadata: {{name: {name}, namespace: {arena.Namespace}}}, spec: {{suspend: "
                + $"true, template: {{spec: {{restartPolicy: Never, containers: [{{name: c, image: busybox}}]}}}}}}}}",
            "configmaps" =>
                $"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: {arena.Namespace}}}, data: {{k: v}}}}",
            _ =>
                $"{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: {name}, namespace: {arena.Namespace}}}, spec: "
                    + $"{{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}}}",
        });
        JsonObject before = await arena.CreateAsync(kind, foreign);
        await arena.StartOperatorAsync();
        JsonObject status = await arena.ConditionAsync("a", "Stalled", "True/NameConflict");
        Assert.Contains(name, status["conditions"]![0]!["message"]!.ToString(), StringComparison.Ordinal);
        JsonObject after = (await arena.GetAsync(kind, name))!;
        Assert.Equal(before["metadata"]!["uid"]!.ToString(), after["metadata"]!["uid"]!.ToString());
        Assert.DoesNotContain(after["metadata"]!["managedFields"]!.AsArray(), m => m!["manager"]!.ToString() == "coclr-operator");

        // No controller takes the protection of claims off here.
        await arena.PatchAsync(kind, name, new JsonObject { ["metadata"] = new JsonObject { ["finalizers"] = null } });
        await arena.DeleteAsync(kind, name);
        await arena.PatchAsync(
            ResourceKind.Experiment,
            "a",
            new JsonObject { ["metadata"] = new JsonObject { ["annotations"] = new JsonObject { ["touched"] = "1" } } });
        await arena.Play.JobAsync("a", "decode");
        await arena.StateAsync("a", "Starting");
    }

    // Somebody removes the labels of a child, so that no cache sees it.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Child_WithoutItsLabels_IsAdoptedAgain(bool running)
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("a"));
        JsonObject job = await arena.Play.JobAsync("a", "decode");
        if (running)
        {
            await arena.Play.RunAsync(await arena.Play.PodAsync(job));
        }

        await arena.StateAsync("a", running ? "Training" : "Starting");
        await arena.PatchAsync(
            ResourceKind.Job,
            job["metadata"]!["name"]!.ToString(),
            new JsonObject { ["metadata"] = new JsonObject { ["labels"] = new JsonObject { ["coclr.dev/experiment-uid"] = null } } });
        await Arena.UntilAsync(
            "the label is back",
            async () => (
                await arena.GetAsync(
                    ResourceKind.Job, job["metadata"]!["name"]!.ToString()))!["metadata"]!["labels"]!["coclr.dev/experiment-uid"] != null);
        Assert.Equal(job["metadata"]!["uid"]!.ToString(), (await arena.Play.JobAsync("a", "decode"))["metadata"]!["uid"]!.ToString());
    }

    [Fact]
    public async Task Experiment_RecreatedUnderItsName_GetsItsOwnChildren()
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("a"));
        JsonObject old = await arena.Play.JobAsync("a", "decode");
        JsonObject pod = await arena.Play.PodAsync(old);
        await arena.Play.RunAsync(pod);
        string run = (await arena.StateAsync("a", "Training"))["run"]!.ToString();

        // Its pod holds out with a finalizer, as one that writes its checkpoint does with its grace period.
        await arena.PatchAsync(
            ResourceKind.Pod,
            pod["metadata"]!["name"]!.ToString(),
            new JsonObject { ["metadata"] = new JsonObject { ["finalizers"] = new JsonArray("test/checkpoint") } });
        await arena.DeleteAsync(ResourceKind.Experiment, "a");
        await arena.ApplyAsync(arena.Experiment("a"));
        await arena.ConditionAsync("a", "Ready", "False/WaitingForPredecessor");
        await arena.PatchAsync(
            ResourceKind.Pod,
            pod["metadata"]!["name"]!.ToString(),
            new JsonObject { ["metadata"] = new JsonObject { ["finalizers"] = null } });
        await arena.DeleteAsync(ResourceKind.Pod, pod["metadata"]!["name"]!.ToString(), graceSeconds: 0);
        JsonObject status = await arena.StateAsync("a", "Starting");
        JsonObject job = await arena.Play.JobAsync("a", "decode");
        Assert.NotEqual(old["metadata"]!["name"]!.ToString(), job["metadata"]!["name"]!.ToString());
        Assert.NotEqual(run, status["run"]!.ToString());
    }

    [Fact]
    public async Task Namespace_GoingAway_IsNoStormOfRetries()
    {
        await using Arena arena = await Arena.StartAsync();
        TestOperator operatr = await arena.StartOperatorAsync();
        arena.Cluster.Faults.Add(
            new Fault
            {
                Kind = FaultKind.Status, Times = -1, Code = 403, Reason = "Forbidden",
                Message = "unable to create new content in namespace train because it is being terminated",
                When = t => t.Verb is "create" or "patch" && t.Resource is "configmaps" or "jobs.batch" or "persistentvolumeclaims"
            });
        arena.Cluster.Log.Clear();
        await arena.ApplyAsync(arena.Experiment("a"));
        await Arena.UntilAsync(
            "it has tried and will not for a minute",
            () => Task.FromResult(arena.Cluster.Log.Writes.Any(w => w.Status == 403) && operatr.Runtime.IdleFor(TimeSpan.FromMinutes(1))));
        Assert.InRange(arena.Cluster.Log.Writes.Count(w => w.Status == 403), 1, 2);
    }

    [Theory]
    [InlineData("seed", "7", "seed cannot be changed: make a new experiment instead")]
    [InlineData("image", "\"other:1\"", "image cannot be added or removed")]
    [InlineData("retries", "9", "retries cannot be changed")]
    [InlineData("scheduling", """{"nodeSelector":{"a":"b"}}""", "scheduling.nodeSelector cannot be added or removed")]
    [InlineData("training", """{"epochs":99}""", "training cannot be changed")]
    public async Task Spec_ImmutableField_IsRefusedWithAUsableMessage(string field, string json, string words)
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.ApplyAsync(arena.Experiment("a"));
        ApiException error = await Assert.ThrowsAsync<ApiException>(() => arena.SetSpecAsync("a", field, JsonNode.Parse(json)));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, error.Code);
        Assert.Contains(words, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("suspend", "true")]
    [InlineData("activeDeadlineSeconds", "60")]
    [InlineData("preRunningDeadlineSeconds", "60")]
    [InlineData("ttlSecondsAfterFinished", """{"succeeded":1}""")]
    [InlineData("scheduling", """{"priorityClassName":"high"}""")]
    public async Task Spec_MutableField_IsAccepted(string field, string json)
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.ApplyAsync(arena.Experiment("a"));
        JsonObject changed = await arena.SetSpecAsync("a", field, JsonNode.Parse(json));
        Assert.Equal(2, changed["metadata"]!["generation"]!.GetValue<int>());
    }

    [Theory]
    [InlineData("a234567890123456789012345678901234567890123456789012", true)]
    [InlineData("a2345678901234567890123456789012345678901234567890123", false)]
    [InlineData("with.dots", false)]
    public async Task Name_OfTheExperiment_IsDecidedAtAdmission(string name, bool allowed)
    {
        await using Arena arena = await Arena.StartAsync();
        await arena.StartOperatorAsync();
        if (!allowed)
        {
            ApiException error = await Assert.ThrowsAsync<ApiException>(() => arena.ApplyAsync(arena.Experiment(name)));
            Assert.Contains("name must", error.Message, StringComparison.Ordinal);
            return;
        }

        await arena.ApplyAsync(arena.Experiment(name));
        JsonObject job = await arena.Play.JobAsync(name, "decode");
        Assert.True(job["metadata"]!["name"]!.ToString().Length <= 63);
    }

    // Section 7: refused at admission, with the field and the fix.
    // Only objects of its own namespace can be named, and no path leads out.
    [Theory]
    [InlineData("training.optimizer.learningRate", "\"fast\"", "learningRate")]
    [InlineData("training.batchSize", "0", "batchSize")]
    [InlineData("training.batchSize", "7", "queueSize must be a multiple")]
    [InlineData("training.optimizer", """{"milestones":[1,2]}""", "milestones and warmupEpochs of training.optimizer")]
    [InlineData("training.optimizer", """{"warmupEpochs":3}""", "milestones and warmupEpochs of training.optimizer")]
    [InlineData("cotrain", """{"optimizer":{"milestones":["a"]}}""", "milestones")]
    [InlineData("training.temperature", "\"99999\"", "give a decimal number from")]
    [InlineData("views", "[\"RGB\",\"RGB\"]", "Duplicate")]
    [InlineData("views", "[\"Sound\"]", "Unsupported value")]
    [InlineData("dataset.source.path", "\"/videos\"", "exactly one of")]
    [InlineData("storage.size", "\"much\"", "size")]
    [InlineData("env", """[{"name":"COCLR_RUN_DIR","value":"/etc"}]""", "reserved")]
    [InlineData("env", """[{"name":"A"}]""", "exactly one of value")]
    [InlineData("resources.gpus", "-1", "gpus")]
    [InlineData("dataset.source", """{"volumeClaim":{"name":"v","path":"../other"}}""", "path")]
    public async Task Spec_Invalid_IsRefusedAtAdmission(string field, string json, string words)
    {
        await using Arena arena = await Arena.StartAsync();
        ApiException error = await Assert.ThrowsAsync<ApiException>(
            () => arena.CreateAsync(ResourceKind.Experiment, arena.Experiment("a", (field, JsonNode.Parse(json)))));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, error.Code);
        Assert.Contains(words, error.Message, StringComparison.OrdinalIgnoreCase);
    }

    [Theory]
    [InlineData(true, 9, null)]
    [InlineData(false, 10, null)]
    [InlineData(true, 19, 9)]
    [InlineData(false, 19, 10)]
    [InlineData(false, 19, null)]
    public async Task Milestones_OfPretrainingAndTurns_AreCheckedAtAdmission(bool accepted, int pretraining, int? turns)
    {
        await using Arena arena = await Arena.StartAsync();
        JsonObject experiment = arena.Experiment(
            "a",
            ("views", new JsonArray("RGB", "Flow")),
            ("training.method", "CoCLR"),
            ("training.epochs", 20),
            ("training.optimizer", new JsonObject { ["milestones"] = new JsonArray(pretraining) }),
            (
                "cotrain",
                new JsonObject
                {
                    ["epochsPerTurn"] = 10,
                    ["optimizer"] = turns is { } t ? new JsonObject { ["milestones"] = new JsonArray(t) } : new JsonObject()
                }));
        if (accepted)
        {
            await arena.CreateAsync(ResourceKind.Experiment, experiment);
            return;
        }

        ApiException error = await Assert.ThrowsAsync<ApiException>(() => arena.CreateAsync(ResourceKind.Experiment, experiment));
        Assert.Contains("must lie within cotrain.epochsPerTurn", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Experiment_NotYetSeen_DoesNotLookDone()
    {
        await using Arena arena = await Arena.StartAsync();
        JsonObject made = await arena.ApplyAsync(arena.Experiment("a"));
        Assert.Equal(-1, made["status"]!["observedGeneration"]!.GetValue<int>());
    }

    [Fact]
    public async Task Experiment_Deleted_ItsSeriesGoWithIt()
    {
        await using Arena arena = await Arena.StartAsync();
        TestOperator operatr = await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("a"));
        await arena.StateAsync("a", "Starting");
        string uid = (await arena.GetAsync(ResourceKind.Experiment, "a"))!["metadata"]!["uid"]!.ToString();
        operatr.Runtime.Progress.Put(uid, "decode", CoCLR.Operator.Progress.StageReport.Read("""{"percent":1}""", DateTimeOffset.UtcNow)!);
        await arena.DeleteAsync(ResourceKind.Experiment, "a");
        await Arena.UntilAsync(
            "it is forgotten",
            () => Task.FromResult(operatr.Runtime.Caches.Experiments.Count == 0 && operatr.Runtime.Progress.Of(uid).Count == 0));
    }

    // A retry after a real deletion, and a child that was edited by hand.
    [Fact]
    public async Task Child_EditedOrDeletedByHand_IsPutRight()
    {
        await using Arena arena = await Arena.StartAsync();
        TestOperator operatr = await arena.StartOperatorAsync();
        await arena.ApplyAsync(arena.Experiment("a"));
        JsonObject job = await arena.Play.JobAsync("a", "decode");
        string name = job["metadata"]!["name"]!.ToString();
        await arena.PatchAsync(ResourceKind.Job, name, new JsonObject { ["spec"] = new JsonObject { ["suspend"] = true } });
        await Arena.UntilAsync(
            "it is resumed", async () => (await arena.GetAsync(ResourceKind.Job, name))!["spec"]!["suspend"]!.GetValue<bool>() == false);
        await arena.DeleteAsync(ResourceKind.Job, name);
        await Arena.UntilAsync(
            "there is a new Job",
            async () => await arena.GetAsync(ResourceKind.Job, name) is { } again
                && again["metadata"]!["uid"]!.ToString() != job["metadata"]!["uid"]!.ToString());
        await arena.Play.SucceedAsync("a", "decode");
        await arena.Play.JobAsync("a", "pretrain-rgb");
        await arena.DeleteAsync(ResourceKind.Job, name);
        await Arena.UntilAsync(
            "the deletion was seen and nothing is left to do",
            () => Task.FromResult(
                operatr.Runtime.Caches.Jobs.Get(new ObjectKey(arena.Namespace, name)) == null && operatr.Runtime.IdleFor(TimeSpan.Zero)));
        Assert.Null(await arena.GetAsync(ResourceKind.Job, name));
    }
}
