// Why this exists: what the chart promises, asked of what it renders: least rights, hardened pods, pinned images, values that cannot be
// misspelt.
using System.Text.Json.Nodes;
using CoCLR.TrialCluster;

namespace CoCLR.EndToEnd.Tests.Charts;

public sealed class ChartTests
{
    private static readonly string[] Everything =
    [
        "--set", "dashboard.ingress.enabled=true,dashboard.ingress.host=coclr.example.com,dashboard.ingress.tlsSecretName=tls,dashboard.httpRoute.enabled=true,dashboard.httpRoute.parentRefs[0].name=gateway",
        "--set", "metrics.serviceMonitor.enabled=true,metrics.prometheusRule.enabled=true,metrics.grafanaDashboard.enabled=true",
    ];

    private static bool Updating => Environment.GetEnvironmentVariable("COCLR_UPDATE_GENERATED") is "1";

    [Fact]
    public async Task Chart_IsFreeOfLint()
    {
        var (output, error, code) = await Chart.RunAsync("helm", ["lint", "--strict", Chart.Folder]);
        Assert.True(code == 0, output + error);
    }

    [Theory]
    [InlineData("operator.replica=3", "/operator")]
    [InlineData("unknown=1", "unknown")]
    [InlineData("dashboard.auth.mode=None", "/dashboard/auth/mode")]
    [InlineData("operator.image.tag=latest", "/operator/image/tag")]
    [InlineData("operator.replicas=many", "/operator/replicas")]
    [InlineData("dashboard.service.port=0", "/dashboard/service/port")]
    [InlineData("engine.image.digest=sha256:xyz", "/engine/image/digest")]
    public async Task Values_ThatAreWrong_AreRefused(string setting, string where)
    {
        var (_, error, code) = await Chart.RunAsync("helm", ["template", "coclr", Chart.Folder, "--set", setting]);
        Assert.NotEqual(0, code);
        Assert.Contains(where, error, StringComparison.Ordinal);
    }

    [Fact]
    public void Schema_KnowsExactlyTheValues()
    {
        var values = Json.Parse(File.ReadAllBytes(Path.Combine(Chart.Folder, "values.yaml")), yaml: true);
        var schema = JsonNode.Parse(File.ReadAllText(Path.Combine(Chart.Folder, "values.schema.json")));
        Compare(values!, schema!, "");

        static void Compare(JsonNode value, JsonNode schema, string path)
        {
            if (value is not JsonObject o || schema.At("properties") is not JsonObject known)
            {
                return;
            }

            Assert.False(schema.Flag("additionalProperties") ?? true, $"{path} takes unknown keys");
            if (!path.EndsWith(".resources", StringComparison.Ordinal))
            {
                Assert.Equal(o.Select(p => p.Key).Order(), known.Select(p => p.Key).Where(k => path.Length > 0 || k != "global").Order());
            }

            foreach (var (name, inner) in o)
            {
                if (inner is not null && known[name] is { } child)
                {
                    Compare(inner, child, path + "." + name);
                }
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Roles_HaveNoWildcardsAndOnlyTheirOwnSecrets(bool namespaced)
    {
        var objects = await Chart.RenderAsync(namespaced ? ["--set", "namespaces={team-a,team-b}"] : []);
        var roles = objects.Where(o => o.Text("kind") is "Role" or "ClusterRole").ToList();
        Assert.NotEmpty(roles);
        foreach (var rule in roles.SelectMany(r => r.Items("rules")))
        {
            Assert.DoesNotContain("*", rule!.ToJsonString(), StringComparison.Ordinal);
            Assert.DoesNotContain(rule.Items("verbs"), v => v.Text() is "escalate" or "bind" or "impersonate");
        }

        // Secrets: two names, in the release's own namespace, and not even these where the values name others.
        static List<JsonObject> Secrets(IEnumerable<JsonObject> all) =>
            [.. all.Where(r => r.Items("rules").Any(x => x!.Items("resources").Any(n => n.Text() == "secrets")))];
        var role = Assert.Single(Secrets(roles));
        Assert.Equal(
            ("Role", "coclr-operator-leader", null),
            (role.Text("kind"), role.Text("metadata", "name"), role.Text("metadata", "namespace")));
        var named = role.Items("rules").Single(r => r!.Items("resourceNames").Any(n => n.Text() == "coclr-dashboard"))!;
        Assert.Equal(["coclr-operator-progress-tls", "coclr-dashboard"], named.Items("resourceNames").Select(n => n.Text()));
        Assert.Equal(["get", "patch"], named.Items("verbs").Select(v => v.Text()));
        Assert.Empty(Secrets(await Chart.RenderAsync("--set", "operator.progress.tlsSecretName=mine,dashboard.auth.existingSecret=token")));
        Assert.Empty(Secrets(await Chart.RenderAsync("--set", "operator.progress.certManager.issuerRef.name=ca,dashboard.enabled=false")));

        // With a list of namespaces only the review of tokens and the aggregated roles stay cluster-wide.
        var wide = objects.Where(o => o.Text("kind") == "ClusterRoleBinding").Select(o => o.Text("metadata", "name")).Order();
        Assert.Equal(namespaced
            ? ["coclr-system-coclr-dashboard-tokens", "coclr-system-coclr-operator-tokens"]
            :
            [
                "coclr-system-coclr-dashboard", "coclr-system-coclr-dashboard-people", "coclr-system-coclr-dashboard-tokens",
                "coclr-system-coclr-operator", "coclr-system-coclr-operator-tokens"
            ],
            wide);
        if (namespaced)
        {
            Assert.Equal(
                ["team-a", "team-b"],
                objects.Where(o => o.Text("kind") == "RoleBinding" && o.Text("metadata", "name") == "coclr-operator")
                    .Select(o => o.Text("metadata", "namespace")));
        }
    }

    [Fact]
    public async Task Chart_RenderedTwice_IsTheSame()
    {
        var once = await Chart.RunAsync("helm", ["template", "coclr", Chart.Folder, "--namespace", "coclr-system", .. Everything]);
        var again = await Chart.RunAsync("helm", ["template", "coclr", Chart.Folder, "--namespace", "coclr-system", .. Everything]);
        Assert.True(once.Code == 0, once.Error);
        Assert.Equal(once.Output, again.Output);
        Assert.DoesNotContain("kind: Secret\n", once.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Certificate_ComesFromWhatTheValuesSay()
    {
        static (string? Own, string? File, string? Volume) Of(List<JsonObject> objects)
        {
            var pod = objects.Single(o => o.Text("kind") == "Deployment" && o.Text("metadata", "name") == "coclr-operator")
                .Map("spec", "template", "spec")!;
            string? Env(string name) => pod.Items("containers")[0].Items("env").FirstOrDefault(e => e.Text("name") == name).Text("value");
            return (
                Env("COCLR_OPERATOR_TLSSECRET"),
                Env("COCLR_OPERATOR_TLSCERTFILE"),
                pod.Items("volumes").FirstOrDefault(v => v.Text("name") == "tls").Text("secret", "secretName"));
        }

        Assert.Equal(("coclr-operator-progress-tls", null, null), Of(await Chart.RenderAsync()));
        Assert.Equal(
            (null, "/etc/coclr/tls/tls.crt", "mine"), Of(await Chart.RenderAsync("--set", "operator.progress.tlsSecretName=mine")));
        var managed = await Chart.RenderAsync(
            "--set", "operator.progress.certManager.issuerRef.name=ca,operator.progress.certManager.issuerRef.kind=ClusterIssuer");
        Assert.Equal((null, "/etc/coclr/tls/tls.crt", "coclr-operator-progress-tls"), Of(managed));
        var certificate = managed.Single(o => o.Text("kind") == "Certificate");
        Assert.Equal(
            ("coclr-operator-progress-tls", "ca"), (certificate.Text("spec", "secretName"), certificate.Text("spec", "issuerRef", "name")));
        Assert.Contains("coclr-operator.coclr-system.svc", certificate.Items("spec", "dnsNames").Select(n => n.Text()));
    }

    [Fact]
    public async Task ServiceMonitor_KeepsTheNamespaceOfAnExperiment()
    {
        var monitor = (await Chart.RenderAsync(Everything)).Single(o => o.Text("kind") == "ServiceMonitor");
        Assert.True(monitor.Items("spec", "endpoints")[0].Flag("honorLabels"));
        var rules = (await Chart.RenderAsync([.. Everything, "--namespace", "elsewhere"])).Single(o => o.Text("kind") == "PrometheusRule")
            .ToJsonString();
        Assert.Contains("elsewhere", rules, StringComparison.Ordinal);
        Assert.DoesNotContain("namespace=\\u0022coclr-system", rules, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Pods_AreHardenedAndTheirImagesPinned()
    {
        var objects = await Chart.RenderAsync(Everything);
        var pods = objects.Where(o => o.Text("kind") == "Deployment").Select(o => o.Map("spec", "template", "spec")!)
            .Concat(objects.Where(o => o.Text("kind") == "Pod").Select(o => o.Map("spec")!)).ToList();
        Assert.Equal(3, pods.Count);
        foreach (var pod in pods)
        {
            Assert.True(pod.Flag("securityContext", "runAsNonRoot"));
            Assert.Equal("RuntimeDefault", pod.Text("securityContext", "seccompProfile", "type"));
            foreach (var container in pod.Items("containers"))
            {
                Assert.True(container.Flag("securityContext", "readOnlyRootFilesystem"));
                Assert.False(container.Flag("securityContext", "allowPrivilegeEscalation"));
                Assert.Equal("ALL", container.Items("securityContext", "capabilities", "drop")[0].Text());
                Assert.Matches(@":[0-9][^:]*$", container.Text("image"));

                // .NET's TLS needs a home that can be written.
                Assert.True(
                    container.Text("image")!.Contains("curl", StringComparison.Ordinal)
                        || container.Items("env").Any(e => e.Text("name") == "HOME" && e.Text("value") == "/tmp"));
            }
        }
    }

    [Fact]
    public async Task Objects_CarryTheCommonLabels()
    {
        foreach (var o in await Chart.RenderAsync([.. Everything, "--set", "commonLabels.team=video"]))
        {
            var labels = o.At("metadata", "labels");
            Assert.Equal(
                ("coclr-platform", "coclr", "Helm", "video"),
                (
                    labels.Text("app.kubernetes.io/part-of"),
                    labels.Text("app.kubernetes.io/instance"),
                    labels.Text("app.kubernetes.io/managed-by"),
                    labels.Text("team")));
            if (o.Text("kind") is "Deployment")
            {
                // Selectors never change, so nothing that changes may be in them.
                Assert.Equal(
                    ["app.kubernetes.io/component", "app.kubernetes.io/instance", "app.kubernetes.io/name"],
                    o.Map("spec", "selector", "matchLabels")!.Select(p => p.Key).Order());
            }
        }
    }

    [Theory]
    [InlineData("crds.enabled=false", 0, false)]
    [InlineData("crds.keep=false", 2, false)]
    [InlineData("crds.keep=true", 2, true)]
    public async Task Definitions_AreInstalledAndKeptAsAsked(string setting, int count, bool kept)
    {
        var crds = (await Chart.RenderAsync("--set", setting)).Where(o => o.Text("kind") == "CustomResourceDefinition").ToList();
        Assert.Equal(count, crds.Count);
        Assert.All(crds, c => Assert.Equal(kept ? "keep" : null, c.Text("metadata", "annotations", "helm.sh/resource-policy")));
    }

    [Fact]
    public async Task Definitions_SayTheSameAsTheFilesOfTheRepository()
    {
        var rendered = (await Chart.RenderAsync()).Where(o => o.Text("kind") == "CustomResourceDefinition")
            .ToDictionary(o => o.Text("metadata", "name")!);
        foreach (var file in Directory.GetFiles(Path.Combine(Chart.Root, "crds"), "*.yaml"))
        {
            var crd = Json.Parse(File.ReadAllBytes(file), yaml: true)!;
            Assert.True(Json.Same(crd.At("spec"), rendered[crd.Text("metadata", "name")!].At("spec")), file);
        }
    }

    [Fact]
    public void Readme_IsMadeFromTheValues()
    {
        var file = Path.Combine(Chart.Folder, "README.md");
        var made = ChartReadme.Make(File.ReadAllText(Path.Combine(Chart.Folder, "values.yaml")));
        if (Updating)
        {
            File.WriteAllText(file, made);
        }

        Assert.True(
            File.Exists(file) && File.ReadAllText(file) == made,
            "README.md of the chart is out of date: run the tests once with COCLR_UPDATE_GENERATED=1");
    }

    [Fact]
    public async Task KustomizeBase_IsWhatTheChartRenders()
    {
        var folder = Path.Combine(Chart.Root, "gitops", "kustomize", "base");
        var (output, error, code) = await Chart.RunAsync(
            "helm",
            [
                "template", "coclr", Chart.Folder, "--namespace", "coclr-system", "--skip-tests", "--values",
                Path.Combine(folder, "values.yaml")
            ]);
        Assert.True(code == 0, error);
        var file = Path.Combine(folder, "operator.yaml");
        if (Updating)
        {
            await File.WriteAllTextAsync(file, output, TestContext.Current.CancellationToken);
        }

        Assert.True(
            File.Exists(file) && await File.ReadAllTextAsync(file, TestContext.Current.CancellationToken) == output,
            "gitops/kustomize/base/operator.yaml is out of date: run the tests once with COCLR_UPDATE_GENERATED=1");
    }

    [Fact]
    public async Task KustomizeOverlay_ChangesImagesAndReplicas()
    {
        var (output, error, code) =
            await Chart.RunAsync("kubectl", ["kustomize", Path.Combine(Chart.Root, "gitops", "kustomize", "overlays", "team")]);
        Assert.True(code == 0, error);
        var deployment = Chart.Documents(output).Single(o => o.Text("kind") == "Deployment");
        Assert.Equal(3, deployment.Number("spec", "replicas"));
        var container = deployment.Items("spec", "template", "spec", "containers")[0];
        Assert.StartsWith("registry.example.com/coclr/coclr-operator:", container.Text("image"), StringComparison.Ordinal);
        Assert.Equal(
            "registry.example.com/coclr/coclr-engine:0.1.0-cuda",
            container.Items("env").First(e => e.Text("name") == "COCLR_OPERATOR_IMAGE").Text("value"));
    }
}
