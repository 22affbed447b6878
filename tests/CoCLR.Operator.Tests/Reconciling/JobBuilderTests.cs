// Why this exists: every pod passes Pod Security "restricted", and nothing but the allow-list of the spec reaches it.
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Operator.Api;
using CoCLR.Operator.Reconciling;
using CoCLR.Operator.Tests.Harness;

namespace CoCLR.Operator.Tests.Reconciling;

public class JobBuilderTests
{
    private const string Everything = """
        {"image":"registry/x:1","resources":{"gpus":2,"cpu":"8","memory":"32Gi","sharedMemory":"4Gi"},"training":{"shards":2},
         "scheduling":{"nodeSelector":{"gpu":"h100"},"tolerations":[{"key":"gpu","operator":"Exists","effect":"NoSchedule"}],"affinity":[{"key":"zone","values":["a","b"]}],
           "priorityClassName":"high","runtimeClassName":"nvidia","schedulerName":"volcano"},
         "env":[{"name":"HF_TOKEN","secretKeyRef":{"name":"hf","key":"token"}},{"name":"MODE","configMapKeyRef":{"name":"m","key":"k"}},{"name":"PLAIN","value":"--x; rm -rf $(HOME)"}],
         "dataset":{"source":{"synthetic":null,"volumeClaim":{"name":"videos","path":"ucf101"}}},"storage":{"claimName":"work"}}
        """;

    public static TheoryData<string> Specs =>
    [
        "{}", Everything, """{"queueName":"gpus"}""",
        """{"dataset":{"source":{"synthetic":null,"s3":{"bucket":"videos","secretName":"keys"}}}}""", """{"resources":{"gpus":0}}"""
    ];

    [Theory]
    [MemberData(nameof(Specs))]
    public void Pod_OfAnySpec_PassesPodSecurityRestricted(string spec)
    {
        foreach (string stage in new[] { "decode", "pretrain-rgb" })
        {
            JsonObject pod = PodOf(
                spec,
                stage,
                new ChildSettings { ProgressUrl = "https://op:8443", DashboardIngestUrl = "http://dash", DashboardUrl = "https://d" });
            Assert.Null(pod["hostNetwork"]);
            Assert.Null(pod["hostPID"]);
            Assert.Null(pod["hostIPC"]);
            Assert.Null(pod["serviceAccountName"]);
            Assert.Null(pod["initContainers"]);
            Assert.False(pod["automountServiceAccountToken"]!.GetValue<bool>());
            Assert.True(pod["securityContext"]!["runAsNonRoot"]!.GetValue<bool>());
            Assert.NotEqual(0, pod["securityContext"]!["runAsUser"]!.GetValue<long>());
            Assert.Equal("RuntimeDefault", pod["securityContext"]!["seccompProfile"]!["type"]!.ToString());
            JsonNode container = Assert.Single(pod["containers"]!.AsArray())!;
            Assert.False(container["securityContext"]!["allowPrivilegeEscalation"]!.GetValue<bool>());
            Assert.True(container["securityContext"]!["readOnlyRootFilesystem"]!.GetValue<bool>());
            Assert.Null(container["securityContext"]!["privileged"]);
            Assert.Equal("""{"drop":["ALL"]}""", container["securityContext"]!["capabilities"]!.ToJsonString());
            Assert.Null(container["ports"]);
            string[] allowed = ["configMap", "persistentVolumeClaim", "emptyDir", "projected", "secret", "downwardAPI", "csi", "ephemeral"];
            Assert.All(pod["volumes"]!.AsArray(), v => Assert.Contains(v!.AsObject().Single(f => f.Key != "name").Key, allowed));
            Assert.Equal(
                pod["volumes"]!.AsArray().Select(v => v!["name"]!.ToString()).Order(),
                container["volumeMounts"]!.AsArray().Select(m => m!["name"]!.ToString()).Order());
        }
    }

    [Fact]
    public void Pod_OfTheWholeAllowList_HasWhatWasAsked()
    {
        JsonObject pod = PodOf(Everything, "pretrain-rgb", new ChildSettings());
        JsonNode container = pod["containers"]![0]!;
        Assert.Equal("registry/x:1", container["image"]!.ToString());
        Assert.Equal("2", container["resources"]!["limits"]!["nvidia.com/gpu"]!.ToString());
        Assert.Equal("8", container["resources"]!["requests"]!["cpu"]!.ToString());
        Assert.Equal("4Gi", pod["volumes"]!.AsArray().Single(v => v!["name"]!.ToString() == "shm")!["emptyDir"]!["sizeLimit"]!.ToString());
        Assert.Equal("""{"gpu":"h100"}""", pod["nodeSelector"]!.ToJsonString());
        Assert.Equal("""[{"key":"gpu","operator":"Exists","effect":"NoSchedule"}]""", pod["tolerations"]!.ToJsonString());
        Assert.Equal(
            ("high", "nvidia", "volcano"),
            (pod["priorityClassName"]!.ToString(), pod["runtimeClassName"]!.ToString(), pod["schedulerName"]!.ToString()));
        JsonNode dataset = container["volumeMounts"]!.AsArray().Single(m => m!["name"]!.ToString() == "dataset")!;
        Assert.Equal(
            ("/dataset", "ucf101", true),
            (dataset["mountPath"]!.ToString(), dataset["subPath"]!.ToString(), dataset["readOnly"]!.GetValue<bool>()));
        Assert.Equal(
            "work",
            pod["volumes"]!.AsArray().Single(v => v!["name"]!.ToString() == "storage")!["persistentVolumeClaim"]!["claimName"]!.ToString());
        Assert.Equal("hf", Env(container, "HF_TOKEN")!["valueFrom"]!["secretKeyRef"]!["name"]!.ToString());
    }

    // No shell ever sees a string of the spec.
    [Fact]
    public void Pod_Command_IsAFixedListOfArguments()
    {
        JsonNode container = PodOf(Everything, "pretrain-rgb", new ChildSettings())["containers"]![0]!;
        Assert.Null(container["command"]);
        Assert.Equal("""["stage","--plan","/etc/coclr/plan.json","--stage","pretrain-rgb","--ranks","2"]""", container["args"]!.ToJsonString());
        Assert.Equal("--x; rm -rf $(HOME)", Env(container, "PLAIN")!["value"]!.ToString());
    }

    [Theory]
    [InlineData("pretrain-rgb", "2")]
    [InlineData("probe-rgb", "2")]
    [InlineData("report", null)]
    [InlineData("decode", null)]
    public void SeveralGpus_GoToTheStagesThatCanUseThem(string stage, string? gpus)
    {
        JsonNode container = PodOf(Everything, stage, new ChildSettings())["containers"]![0]!;
        Assert.Equal(gpus, container["resources"]!["limits"]!["nvidia.com/gpu"]?.ToString());
        Assert.Equal(gpus == "2", container["args"]!.AsArray().Any(a => a!.ToString() == "--ranks"));
    }

    [Fact]
    public void Stage_WithoutDevice_GetsNoGpu()
    {
        JsonNode decode = PodOf("{}", "decode", new ChildSettings())["containers"]![0]!;
        Assert.Null(decode["resources"]!["limits"]!["nvidia.com/gpu"]);
        Assert.Equal("void", Env(decode, "NVIDIA_VISIBLE_DEVICES")!["value"]!.ToString());
        JsonNode train = PodOf("{}", "pretrain-rgb", new ChildSettings())["containers"]![0]!;
        Assert.Equal("1", train["resources"]!["limits"]!["nvidia.com/gpu"]!.ToString());
        Assert.Null(Env(train, "NVIDIA_VISIBLE_DEVICES"));
    }

    [Fact]
    public void Env_Reserved_IsLeftOutEvenIfItGotPastAdmission()
    {
        JsonNode container = PodOf("{}", "decode", new ChildSettings(), """[{"name":"COCLR_RUN_DIR","value":"/etc"},{"name":"LD_PRELOAD","value":"x"},{"name":"FINE","value":"1"}]""")["containers"]![0]!;
        Assert.Single(container["env"]!.AsArray(), e => e!["name"]!.ToString() == "COCLR_RUN_DIR");
        Assert.StartsWith("/coclr/runs/", Env(container, "COCLR_RUN_DIR")!["value"]!.ToString(), StringComparison.Ordinal);
        Assert.Null(Env(container, "LD_PRELOAD"));
        Assert.NotNull(Env(container, "FINE"));
    }

    [Fact]
    public void Token_OfAPod_IsGoodForItsExperimentOnly()
    {
        JsonObject pod = PodOf("{}", "decode", new ChildSettings { ProgressUrl = "https://op.ns.svc:8443/" });
        JsonNode token = pod["volumes"]!.AsArray()
            .Single(v => v!["name"]!.ToString() == "tokens")!["projected"]!["sources"]![0]!["serviceAccountToken"]!;
        Assert.Equal("coclr.dev/experiment/11111111-aaaa", token["audience"]!.ToString());
        Assert.Equal(
            "https://op.ns.svc:8443/apis/coclr.dev/v1alpha1/namespaces/ns/experiments/exp/status",
            Env(pod["containers"]![0]!, "COCLR_PROGRESS_URL")!["value"]!.ToString());
        Assert.DoesNotContain(PodOf("{}", "decode", new ChildSettings())["volumes"]!.AsArray(), v => v!["name"]!.ToString() == "tokens");
    }

    [Fact]
    public void Children_CarryTheLabelsAndAnnotationsThatTheOperatorLetsThroughAndNoOthers()
    {
        var settings = new ChildSettings { Propagation = new Propagation { Labels = ["cost-center", "example.com/*", "coclr.dev/run"], Annotations = ["sidecar.istio.io/inject"] } };
        var meta = new ObjectMeta
        {
            Key = new ObjectKey("ns", "exp"),
            Uid = "u",
            ResourceVersion = "1",
            Labels = new Dictionary<string, string>
            {
                ["cost-center"] = "42", ["example.com/team"] = "video", ["other"] = "x", ["coclr.dev/run"] = "forged",
                ["app.kubernetes.io/name"] = "forged"
            },
            Annotations = new Dictionary<string, string> { ["sidecar.istio.io/inject"] = "false", ["secret"] = "x" },
        };
        CoCLR.Core.Manifests.ExperimentSpec spec = new Scene("{}").Observation().Experiment.ParseSpec().Spec!;
        var snapshot = new PlanSnapshot(CoCLR.Core.Planning.Planner.Plan("exp", spec, "exp-run"), "image");
        JsonObject job = JobBuilder.Job(meta, "job", snapshot.Plan["decode"], snapshot, "plan", "claim", spec, settings);
        foreach (JsonNode described in new[]
        {
            job["metadata"]!, job["spec"]!["template"]!["metadata"]!, JobBuilder.Claim(meta, "claim", snapshot, settings)["metadata"]!,
            JobBuilder.PlanConfigMap(meta, "plan", snapshot, settings)["metadata"]!,
        })
        {
            JsonObject labels = described["labels"]!.AsObject();
            Assert.Equal(
                ("42", "video", "exp-run", "coclr-stage"),
                (
                    labels["cost-center"]!.ToString(),
                    labels["example.com/team"]!.ToString(),
                    labels["coclr.dev/run"]!.ToString(),
                    labels["app.kubernetes.io/name"]!.ToString()));
            Assert.Null(labels["other"]);
            Assert.Equal("false", described["annotations"]!["sidecar.istio.io/inject"]!.ToString());
            Assert.Null(described["annotations"]!["secret"]);
        }
    }

    [Fact]
    public void Pod_WithAccountSecretsSpreadAndScratch_HasThem()
    {
        JsonObject pod = PodOf("""
            {"serviceAccountName":"trainer","imagePullSecrets":["mine"],"resources":{"ephemeralStorage":"20Gi"},
             "scheduling":{"topologySpread":[{"topologyKey":"topology.kubernetes.io/zone","whenUnsatisfiable":"DoNotSchedule"}]}}
            """, "decode", new ChildSettings { ImagePullSecrets = ["ours"] });
        Assert.Equal("trainer", pod["serviceAccountName"]!.ToString());
        Assert.Equal(["ours", "mine"], pod["imagePullSecrets"]!.AsArray().Select(s => s!["name"]!.ToString()));
        Assert.Equal("20Gi", pod["containers"]![0]!["resources"]!["limits"]!["ephemeral-storage"]!.ToString());
        Assert.Equal("20Gi", pod["volumes"]!.AsArray().Single(v => v!["name"]!.ToString() == "tmp")!["emptyDir"]!["sizeLimit"]!.ToString());
        JsonNode spread = Assert.Single(pod["topologySpreadConstraints"]!.AsArray())!;
        Assert.Equal(
            ("topology.kubernetes.io/zone", "1", "DoNotSchedule", "coclr-stage"),
            (
                spread["topologyKey"]!.ToString(),
                spread["maxSkew"]!.ToString(),
                spread["whenUnsatisfiable"]!.ToString(),
                spread["labelSelector"]!["matchLabels"]!["app.kubernetes.io/name"]!.ToString()));
    }

    private static JsonNode? Env(JsonNode container, string name) =>
        container["env"]!.AsArray().SingleOrDefault(e => e!["name"]!.ToString() == name);

    private static JsonObject PodOf(string spec, string stage, ChildSettings settings, string? env = null)
    {
        var scene = new Scene(spec) { Settings = settings };
        scene.AddClaim("videos");
        scene.AddClaim("work");
        ExperimentObservation observed = scene.Observation();
        var parsed = observed.Experiment.ParseSpec().Spec!;
        if (env != null)
        {
            parsed = parsed with { Env = System.Text.Json.JsonSerializer.Deserialize<CoCLR.Core.Manifests.EnvironmentVariableSpec[]>(env, CoCLR.Core.CoclrJson.Compact)! };
        }

        var snapshot = new PlanSnapshot(CoCLR.Core.Planning.Planner.Plan("exp", parsed, "exp-run"), parsed.Image ?? settings.DefaultImage);
        JsonObject job = JobBuilder.Job(
            observed.Experiment.Meta,
            "exp-job",
            snapshot.Plan[stage],
            snapshot,
            "exp-plan",
            parsed.Storage.ClaimName ?? "exp-claim",
            parsed,
            settings);
        return job["spec"]!["template"]!["spec"]!.AsObject();
    }
}
