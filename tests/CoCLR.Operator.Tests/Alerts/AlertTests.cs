// Why this exists: an alert that never fires, or always, is found out in the night in which it is needed. promtool says what each does, and
// a scrape of a running operator says whether the series that rules, their tests and the Grafana dashboard speak of exist.
using System.Diagnostics;
using System.Net;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using CoCLR.Cluster;
using CoCLR.Operator.Progress;
using CoCLR.Operator.Tests.Harness;
using CoCLR.TrialCluster;

namespace CoCLR.Operator.Tests.Alerts;

public partial class AlertTests
{
    // Labels that Prometheus adds to what a target tells.
    private static readonly string[] OfTheTarget = ["namespace", "pod", "job", "instance", "le"];

    private static string Rules => File.ReadAllText(Path.Combine(Repository.Root, "charts", "coclr-platform", "files", "alerts.yaml"));

    private static string TestFile => Path.Combine(Repository.Root, "tests", "CoCLR.Operator.Tests", "Alerts", "alerts.test.yaml");

    [Fact]
    public async Task Rules_AskedByPromtool_FireWhenTheyShouldAndOnlyThen()
    {
        ProcessStartInfo tool =
            new("promtool", ["test", "rules", TestFile]) { RedirectStandardOutput = true, RedirectStandardError = true };
        Process? process = null;
        try
        {
            process = Process.Start(tool);
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Skip("promtool is not installed (Debian: apt-get install prometheus)");
        }

        using Process running = process!;
        Task<string> output = running.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken),
        error = running.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await running.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(running.ExitCode == 0, await output + await error);
    }

    [Fact]
    public void EveryRule_HasATestInWhichItFires()
    {
        string[] rules = [.. AlertName().Matches(Rules).Select(m => m.Groups[1].Value)];
        string[] fired = [.. FiredName().Matches(File.ReadAllText(TestFile)).Select(m => m.Groups[1].Value).Distinct()];
        Assert.NotEmpty(rules);
        Assert.Equal(rules.Order(), fired.Order());
    }

    [Fact]
    public async Task Series_OfRulesTestsAndDashboard_AreThoseThatARunningOperatorExposes()
    {
        await using Arena arena = await Arena.StartAsync();
        await using Web web = await Web.StartAsync(arena);
        await PlayAsync(arena, web);
        var exposed = new Dictionary<string, HashSet<string>>();
        await Arena.UntilAsync(() => "every series is there; missing: " + string.Join(", ", Missing(exposed)), async () =>
        {
            exposed = Series(await web.Client.GetStringAsync("/metrics", TestContext.Current.CancellationToken));
            return !Missing(exposed).Any();
        });
    }

    /// <summary>
    /// What the files speak of and the operator does not expose: metrics, their labels, and values that a rule names as good.
    /// </summary>
    private static IEnumerable<string> Missing(Dictionary<string, HashSet<string>> exposed)
    {
        string dashboard = File.ReadAllText(Path.Combine(Repository.Root, "charts", "coclr-platform", "files", "grafana-dashboard.json"));
        foreach ((string name, string labels) in Uses(Rules + dashboard + File.ReadAllText(TestFile)).Distinct())
        {
            if (!exposed.TryGetValue(name, out HashSet<string>? known))
            {
                yield return name;
                continue;
            }

            foreach (string label in labels.Split(',', StringSplitOptions.RemoveEmptyEntries).Where(l => !known.Contains(l) && !OfTheTarget.Contains(l)))
            {
                yield return $"{name}{{{label}}}";
            }
        }

        foreach (string series in new[] { "coclr_progress_pushes_total{result=ok}", "coclr_progress_pushes_total{result=unauthenticated}", "coclr_reconcile_total{result=error}" }.Where(s => !exposed.ContainsKey(s)))
        {
            yield return series;
        }
    }

    private static IEnumerable<(string Name, string Labels)> Uses(string text)
    {
        foreach (Match use in Use().Matches(text))
        {
            string matchers = string.Join(',', Matcher().Matches(use.Groups["matchers"].Value).Select(m => m.Groups[1].Value));
            yield return (use.Groups["name"].Value, matchers);
        }

        // max(metric) by (labels): all of one metric a line.
        foreach (string line in text.Split('\n').Where(l => By().IsMatch(l)))
        {
            yield return (
                Use().Match(line).Groups["name"].Value, By().Match(line).Groups[1].Value.Replace(" ", "", StringComparison.Ordinal));
        }
    }

    private static Dictionary<string, HashSet<string>> Series(string metrics)
    {
        var series = new Dictionary<string, HashSet<string>>();
        foreach (string line in metrics.Split('\n').Where(l => l.StartsWith("coclr_", StringComparison.Ordinal)))
        {
            Match use = Use().Match(line);
            HashSet<string> labels =
                series.TryGetValue(use.Groups["name"].Value, out HashSet<string>? known) ? known : series[use.Groups["name"].Value] = [];
            foreach (Match label in Matcher().Matches(use.Groups["matchers"].Value))
            {
                labels.Add(label.Groups[1].Value);
                series[$"{use.Groups["name"].Value}{{{label.Groups[1].Value}={label.Groups[2].Value}}}"] = [];
            }
        }

        return series;
    }

    /// <summary>
    /// One experiment that trains and tells, one that fails after a restart, one that waits; a watch that breaks and a write that fails.
    /// </summary>
    private static async Task PlayAsync(Arena arena, Web web)
    {
        arena.Cluster.Faults.GoneEvent("pods");
        arena.Cluster.Faults.Add(
            new Fault
            {
                Kind = FaultKind.Status, Times = 1, Code = 500, Reason = "InternalError", Message = "broken by the test",
                When = t => t.Verb == "patch" && t.Resource.StartsWith("jobs", StringComparison.Ordinal)
            });
        foreach (string name in new[] { "trains", "fails", "waits" })
        {
            await arena.ApplyAsync(
                arena.Experiment(
                    name,
                    ("resources", new JsonObject { ["gpus"] = 1 }),
                    ("device", "cuda"),
                    ("dataset", JsonNode.Parse("""{"source":{"synthetic":{"classes":2,"trainGroups":2,"testGroups":1}}}"""))));
        }

        await arena.Play.SucceedAsync("trains", "decode");
        JsonObject training = await arena.Play.PodAsync(await arena.Play.JobAsync("trains", "pretrain-rgb"));
        await arena.Play.RunAsync(training);
        string token = await Web.TokenAsync(
            arena,
            training,
            TokenAudiences.Progress((await arena.GetAsync(ResourceKind.Experiment, "trains"))!["metadata"]!["uid"]!.ToString()));
        await Arena.UntilAsync(
            "progress is taken",
            async () => await web.PushAsync("trains", "Bearer " + token, """{"percent":40}""") == HttpStatusCode.NoContent);
        Assert.Equal(HttpStatusCode.Unauthorized, await web.PushAsync("trains", "Bearer nobody-knows-this-token", "{}"));

        JsonObject job = await arena.Play.JobAsync("fails", "decode");
        JsonObject first = await arena.Play.PodAsync(job);
        await arena.Play.RunAsync(first);
        await arena.StateAsync("fails", "Training");
        await arena.Play.EndAsync(job, first, 137, reason: "OOMKilled");
        await arena.StateAsync("fails", "Restarting");
        await arena.Play.FailAsync(job, "PodFailurePolicy", 1);
        await arena.StateAsync("fails", "Failed");
        await arena.Play.EndAsync(await arena.Play.JobAsync("trains", "pretrain-rgb"), training, 143);
        JsonObject again = await arena.Play.PodAsync(await arena.Play.JobAsync("trains", "pretrain-rgb"));
        await arena.Play.RunAsync(again);
        await arena.StateAsync("trains", "Training");
    }

    [GeneratedRegex(@"- alert: (\w+)")]
    private static partial Regex AlertName();

    [GeneratedRegex(@"alertname: (\w+)\r?\n\s+exp_alerts:\r?\n")]
    private static partial Regex FiredName();

    [GeneratedRegex(@"(?<name>\bcoclr_[a-z_]*[a-z])(?:\{(?<matchers>[^}]*)\})?")]
    private static partial Regex Use();

    [GeneratedRegex("""(\w+)(?:=|!=|=~|!~)\\?"([^"\\]*)\\?["]""")]
    private static partial Regex Matcher();

    [GeneratedRegex(@"\bcoclr_.*\bby \(([a-z, ]+)\)")]
    private static partial Regex By();
}
