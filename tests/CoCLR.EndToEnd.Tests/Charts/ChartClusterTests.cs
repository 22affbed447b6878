// Why this exists: the chart, installed by real helm on the in-process cluster, with the real operator and dashboard as its pods.
using CoCLR.TrialCluster;

namespace CoCLR.EndToEnd.Tests.Charts;

public sealed class ChartClusterTests : IAsyncLifetime
{
    private InProcessCluster _cluster = null!;

    public async ValueTask InitializeAsync()
    {
        Chart.Tool("helm");
        Chart.Tool("kubectl");
        _cluster = await InProcessCluster.StartAsync(
            new InProcessClusterOptions
            {
                Images = [.. Chart.Programs, ImageProgram.For("curlimages/curl:*", ["curl"])],
            },
            TestContext.Current.CancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        if (_cluster is not null)
        {
            await _cluster.DisposeAsync();
        }
    }

    private async Task<string> Helm(params string[] arguments)
    {
        var (output, error, code) = await Chart.RunAsync("helm", [.. arguments, "--namespace", "coclr-system"], _cluster.KubeconfigPath);
        Assert.True(code == 0, $"helm {string.Join(' ', arguments)}: {error}\n{await Logs()}");
        return output;
    }

    private async Task<string> Kubectl(params string[] arguments)
    {
        var (output, error, code) = await Chart.RunAsync("kubectl", arguments, _cluster.KubeconfigPath);
        Assert.True(code == 0, $"kubectl {string.Join(' ', arguments)}: {error}");
        return output.Trim();
    }

    private async Task<string> Logs() =>
        (
            await Chart.RunAsync(
                "kubectl",
                ["logs", "-n", "coclr-system", "-l", "app.kubernetes.io/part-of=coclr-platform", "--tail=20"],
                _cluster.KubeconfigPath)).Output;

    [Fact]
    public async Task Release_IsInstalledTestedUpgradedRolledBackAndUninstalled()
    {
        var notes = await Helm("install", "coclr", Chart.Folder, "--create-namespace", "--wait", "--timeout", "300s");
        await Kubectl("label", "namespace", "coclr-system", "pod-security.kubernetes.io/enforce=restricted");
        Assert.Contains("phase:          succeeded", (await Helm("test", "coclr")).ToLowerInvariant(), StringComparison.Ordinal);

        // The manifest that the notes suggest is one that the server takes.
        var manifest = notes[(notes.IndexOf("<<'EOF'", StringComparison.Ordinal) + 7)..notes.IndexOf("  EOF", StringComparison.Ordinal)];
        var indented = string.Join('\n', manifest.Split('\n').Select(l => l.StartsWith("  ", StringComparison.Ordinal) ? l[2..] : l));
        var (output, error, code) =
            await Chart.RunAsync("kubectl", ["apply", "--dry-run=server", "-f", "-"], _cluster.KubeconfigPath, indented);
        Assert.True(code == 0, error);
        Assert.Contains("coclrexperiment.coclr.dev/first created", output, StringComparison.Ordinal);

        // What nobody has given was made once, by one of the replicas, and everything that is rendered is something that the server takes.
        Assert.Equal(
            2,
            _cluster.Log.All.Count(
                r => r is { Verb: "create", Resource: "secrets", Status: 201 }
                    && r.User == "system:serviceaccount:coclr-system:coclr-operator"));
        foreach (var rendered in new[] { await Chart.RunAsync("helm", ["template", "other", Chart.Folder, "--namespace", "coclr-system", "--set", "crds.enabled=false"]), await Chart.RunAsync("kubectl", ["kustomize", Path.Combine(Chart.Root, "gitops", "kustomize", "overlays", "team")]) })
        {
            Assert.True(rendered.Code == 0, rendered.Error);
            var dry = await Chart.RunAsync("kubectl", ["apply", "--dry-run=server", "-f", "-"], _cluster.KubeconfigPath, rendered.Output);
            Assert.True(dry.Code == 0, dry.Error);
        }

        // An upgrade that changes nothing restarts nothing and keeps what was generated.
        var before = await Kubectl("get", "pods", "-n", "coclr-system", "-o", "name");
        var token = await Kubectl("get", "secret", "coclr-dashboard", "-n", "coclr-system", "-o", "jsonpath={.data.token}");
        await Helm("upgrade", "coclr", Chart.Folder, "--wait", "--timeout", "300s");
        Assert.Equal(before, await Kubectl("get", "pods", "-n", "coclr-system", "-o", "name"));
        Assert.Equal(token, await Kubectl("get", "secret", "coclr-dashboard", "-n", "coclr-system", "-o", "jsonpath={.data.token}"));

        // One replica fewer, and back.
        await Helm("upgrade", "coclr", Chart.Folder, "--set", "operator.replicas=1", "--wait", "--timeout", "300s");
        Assert.Equal("1", await Kubectl("get", "deploy", "coclr-operator", "-n", "coclr-system", "-o", "jsonpath={.spec.replicas}"));
        await Helm("rollback", "coclr", "2", "--wait", "--timeout", "300s");
        Assert.Equal("2", await Kubectl("get", "deploy", "coclr-operator", "-n", "coclr-system", "-o", "jsonpath={.spec.replicas}"));

        // Definitions and the dashboard's claim outlive the release.
        await Helm("uninstall", "coclr", "--wait");
        Assert.Equal(
            "customresourcedefinition.apiextensions.k8s.io/coclrexperiments.coclr.dev",
            (await Kubectl("get", "crd", "coclrexperiments.coclr.dev", "-o", "name")).Trim());
        Assert.Equal("persistentvolumeclaim/coclr-dashboard", await Kubectl("get", "pvc", "-n", "coclr-system", "-o", "name"));
        Assert.Equal(
            "",
            await Kubectl(
                "get", "deploy,service,clusterrole", "-n", "coclr-system", "-l", "app.kubernetes.io/instance=coclr", "-o", "name"));
    }

    [Fact]
    public async Task Operator_WithTheRightsOfTheChart_IsReadyInNamespacedModeToo()
    {
        foreach (var ns in new[] { "team-a", "team-b" })
        {
            await Kubectl("create", "namespace", ns);
        }

        await Helm(
            "install",
            "coclr",
            Chart.Folder,
            "--create-namespace",
            "--set",
            "namespaces={team-a,team-b},operator.replicas=1,dashboard.enabled=false",
            "--wait",
            "--timeout",
            "300s");

        // Nothing was refused: every right the operator uses is in its roles.
        Assert.Empty(
            _cluster.Log.All.Where(
                r => r.Status == 403 && r.User.StartsWith("system:serviceaccount:coclr-system:", StringComparison.Ordinal))
                .Select(r => $"{r.Verb} {r.Resource} {r.Namespace}").Distinct());
        Assert.Contains(
            _cluster.Log.All, r => r is { Verb: "list", Resource: "coclrexperiments.coclr.dev", Namespace: "team-a", Status: 200 });
    }

    [Fact]
    public async Task AggregatedRoles_LetViewersLookAndEditorsEdit()
    {
        await Helm("install", "coclr", Chart.Folder, "--create-namespace", "--set", "operator.replicas=0,dashboard.enabled=false");
        await Kubectl("create", "rolebinding", "look", "--clusterrole=view", "--user=vera", "-n", "default");
        await Kubectl("create", "rolebinding", "edit", "--clusterrole=edit", "--user=ed", "-n", "default");
        async Task<string> May(string user, string verb)
        {
            var kubeconfig = Path.Combine(_cluster.Folder, user + ".kubeconfig");
            await File.WriteAllTextAsync(kubeconfig, _cluster.AddUser(user), TestContext.Current.CancellationToken);
            return (
                await Chart.RunAsync(
                    "kubectl", ["auth", "can-i", verb, "coclrexperiments.coclr.dev", "-n", "default"], kubeconfig)).Output.Trim();
        }

        Assert.Equal(
            ("yes", "no", "yes", "yes"),
            (await May("vera", "list"), await May("vera", "create"), await May("ed", "list"), await May("ed", "create")));
    }
}
