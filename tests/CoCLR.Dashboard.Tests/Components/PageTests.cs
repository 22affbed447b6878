// Why this exists: pages rendered without a browser: what they say when there is nothing, when there is something, and when what there is,
// is hostile.
using Bunit;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Components.Controls;
using CoCLR.Dashboard.Components.Layout;
using CoCLR.Dashboard.Components.Pages;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Ingest;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.AspNetCore.Components;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using MudBlazor;
using MudBlazor.Services;

namespace CoCLR.Dashboard.Tests.Components;

public sealed class PageTests : IAsyncLifetime
{
    private readonly TemporaryFolder _folder = new();
    private readonly BunitContext _context = new();

    public PageTests()
    {
        _context.JSInterop.Mode = JSRuntimeMode.Loose;
        _context.Services.AddMudServices();
        _context.Services.AddMemoryCache();
        _context.Services.AddSingleton(Options.Create(new DashboardOptions { WorkDir = _folder.Path }));
        _context.Services.AddSingleton(TimeProvider.System);
        _context.Services.AddSingleton<LiveFeed>().AddSingleton<SettingsFile>().AddSingleton<RunStore>().AddSingleton<RunFolders>()
            .AddSingleton<LocalHost>().AddSingleton<RunResults>().AddSingleton<Previews>().AddSingleton<QueryVideos>().AddSingleton<ModelPackages>()
            .AddSingleton<Suites>().AddSingleton<Tokens>().AddSingleton<AuditLog>().AddSingleton<RunControl>();
        _context.Services.AddSingleton(new SignInMode(AuthenticationMode.BrowserToken));
        var user = _context.AddAuthorization();
        user.SetAuthorized("someone");
        user.SetRoles(Roles.Admin);
        _context.Render<MudPopoverProvider>();
    }

    private RunStore Store => _context.Services.GetRequiredService<RunStore>();

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _context.DisposeAsync();
        _folder.Dispose();
    }

    [Fact]
    public void Experiments_NothingYet_SaysTheNextStep()
    {
        IRenderedComponent<ExperimentsPage> page = _context.Render<ExperimentsPage>();
        Assert.Contains("No experiments yet", page.Markup, StringComparison.Ordinal);
        Assert.Contains("coclr demo", page.Markup, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Experiments_RunAppears_IsShownWithoutReload()
    {
        IRenderedComponent<ExperimentsPage> page = _context.Render<ExperimentsPage>();
        Store.Apply("r1", "pretrain-rgb", [Make.Started(), Make.Metric(1, 1, 2.5)]);
        await page.WaitForAssertionAsync(() => Assert.Equal("r1", page.Find("td.name a").TextContent));
        Store.Apply("r1", "pretrain-rgb", [Make.Metric(2, 2, 1.25)]);
        await page.WaitForAssertionAsync(() => Assert.Contains("1.250", page.Find("tbody tr").TextContent, StringComparison.Ordinal));
    }

    [Fact]
    public void Experiments_FilterInTheAddress_Selects()
    {
        Store.Apply("alpha", "decode", [Make.Started(run: "alpha", stage: "decode")]);
        Store.Apply("beta", "decode", [Make.Started(run: "beta", stage: "decode")]);
        _context.Services.GetRequiredService<NavigationManager>().NavigateTo("?q=name:bet");
        IRenderedComponent<ExperimentsPage> page = _context.Render<ExperimentsPage>();
        Assert.Equal(["beta"], page.FindAll("td.name a").Select(a => a.TextContent));
        _context.Services.GetRequiredService<NavigationManager>().NavigateTo("?q=probe>often");
        Assert.Contains("not a number", page.Markup, StringComparison.Ordinal);
    }

    public static TheoryData<string> Hostile() =>
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"><svg onload=alert(1)>", "javascript:alert(1)", "{{7*7}}",
        "\u001b]8;;http://x\u0007y", "=cmd()"
    ];

    [Theory]
    [MemberData(nameof(Hostile))]
    public void NamesTagsNotesAndLogs_AreShownAsText(string words)
    {
        Store.Apply("r1", "pretrain-rgb", [Make.Started(), Make.Log(1, words, "error"), Make.Finished(2, StageOutcome.Failed, 1, words)]);
        _context.Services.GetRequiredService<SettingsFile>().Annotate("r1", a => a with { Tags = [words], Note = words });
        string markup = _context.Render<ExperimentsPage>().Markup + _context.Render<RunPage>(p => p.Add(x => x.Run, "r1")).Markup
            + _context.Render<RunPage>(p => p.Add(x => x.Run, "r1").Add(x => x.Tab, "log")).Markup;

        Assert.DoesNotContain("<script>alert", markup, StringComparison.Ordinal);
        Assert.DoesNotContain("<img src=x", markup, StringComparison.Ordinal);
        Assert.DoesNotContain("<svg onload", markup, StringComparison.Ordinal);
        Assert.DoesNotContain("href=\"javascript", markup, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RunPage_RunIsDeletedWhileOpen_SaysSo()
    {
        Store.Apply("r1", "pretrain-rgb", [Make.Started()]);
        IRenderedComponent<RunPage> page = _context.Render<RunPage>(p => p.Add(x => x.Run, "r1"));
        Assert.Contains("pretrain-rgb", page.Markup, StringComparison.Ordinal);
        Store.Remove("r1");
        await page.WaitForAssertionAsync(() => Assert.Contains("deleted", page.Markup, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("overview")]
    [InlineData("curves")]
    [InlineData("retrieval")]
    [InlineData("mining")]
    [InlineData("probe")]
    [InlineData("embedding")]
    [InlineData("results")]
    [InlineData("system")]
    [InlineData("log")]
    [InlineData("artifacts")]
    [InlineData("manifest")]
    public void RunPage_EveryTab_OfARunWithNothing_SaysWhatIsMissing(string tab)
    {
        (string run, _, _) = new SampleRuns(_folder["runs"]).Write("empty", Method.CoCLR, SampleRuns.Until.Planned);
        _context.Services.GetRequiredService<RunFolders>().Scan();
        IRenderedComponent<RunPage> page = _context.Render<RunPage>(p => p.Add(x => x.Run, run).Add(x => x.Tab, tab));
        Assert.Contains(
            tab switch { "overview" => "No stage is at work", "manifest" => "kind", _ => "class=\"empty\"" },
            page.Markup,
            StringComparison.Ordinal);
    }

    [Fact]
    public void RunPage_EveryTab_OfAFinishedRun_ShowsWhatWasMeasured()
    {
        (string run, _, StagePlan plan) = new SampleRuns(_folder["runs"]).Write("whole", Method.CoCLR, epochs: 4, previews: false);
        _context.Services.GetRequiredService<RunFolders>().Scan();
        IRenderedComponent<RunPage> Tab(string tab) => _context.Render<RunPage>(p => p.Add(x => x.Run, run).Add(x => x.Tab, tab));

        Assert.Equal(plan.Stages.Count, Tab("overview").FindAll(".graph .node.done").Count);
        Assert.True(Tab("curves").FindAll("figure.chart").Count >= 5);
        IRenderedComponent<RunPage> gallery = Tab("retrieval");
        Assert.Equal(24, gallery.FindAll("article.query-row").Count);
        Assert.All(gallery.FindAll("figure.clip.hit figcaption"), f => Assert.Contains("✓", f.TextContent, StringComparison.Ordinal));
        Assert.All(gallery.FindAll("figure.clip.miss figcaption"), f => Assert.Contains("✕", f.TextContent, StringComparison.Ordinal));
        Assert.Equal(8, Tab("mining").FindAll("article.query-row").Count);
        Assert.Equal(64, Tab("probe").FindAll(".confusion button").Count);
        Assert.Contains("CoCLR", Tab("results").Find("tbody").TextContent, StringComparison.Ordinal);
        Assert.Contains("training", Tab("manifest").Find("pre").TextContent, StringComparison.Ordinal);
    }

    [Fact]
    public void Retrieval_MissesAsked_ShowsOnlyMisses()
    {
        (string run, _, _) = new SampleRuns(_folder["runs"]).Write("whole", Method.CoCLR, epochs: 4, previews: false);
        _context.Services.GetRequiredService<RunFolders>().Scan();
        _context.Services.GetRequiredService<NavigationManager>().NavigateTo($"experiments/{run}/retrieval?show=misses&view=flow");
        IRenderedComponent<RunPage> page = _context.Render<RunPage>(p => p.Add(x => x.Run, run).Add(x => x.Tab, "retrieval"));
        Assert.NotEmpty(page.FindAll("article.query-row"));
        Assert.All(
            page.FindAll("article.query-row"),
            row => Assert.Contains("miss", row.QuerySelector(".found figure")!.ClassName, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(Method.InfoNCE, 0)]
    [InlineData(Method.CoCLR, 4)]
    public void StageGraph_Plan_DrawsEveryStageAndWhoMinesForWhom(Method method, int mining)
    {
        StagePlan plan = Planner.Plan(
            "x", new ExperimentSpec { Training = new TrainingSpec { Method = method }, Cotrain = new CotrainSpec { Cycles = 2 } });
        IRenderedComponent<StageGraph> graph = _context.Render<StageGraph>(p => p.Add(x => x.Plan, plan));
        Assert.Equal(plan.Stages.Count, graph.FindAll(".node").Count);
        Assert.Equal(plan.Stages.Sum(s => s.DependsOn.Count), graph.FindAll("path.edge").Count);
        Assert.Equal(mining, graph.FindAll("path.edge.mines").Count);
        (string, string)[] places = [.. graph.FindAll(".node").Select(n => n.GetAttribute("transform")!).Select(t => (t, ""))];
        Assert.Equal(places.Length, places.Distinct().Count());
    }

    [Fact]
    public void New_InvalidField_IsNamedAndTheFormFollowsTheYaml()
    {
        IRenderedComponent<NewPage> page = _context.Render<NewPage>();
        Assert.Empty(page.FindAll(".problems li"));
        string yaml = page.Find("#yaml").GetAttribute("value")!;
        page.Find("#yaml").Input(yaml.Replace("epochs: 10,", "epochz: 10,", StringComparison.Ordinal));
        Assert.Contains("epochz", page.Find(".problems").TextContent, StringComparison.Ordinal);
        page.Find("#yaml").Input(yaml.Replace("epochs: 10,", "epochs: 77,", StringComparison.Ordinal));
        Assert.Empty(page.FindAll(".problems li"));
        Assert.Contains(page.FindAll("input[type=number]"), i => i.GetAttribute("value") == "77");
        page.FindAll("input[type=number]").First(i => i.GetAttribute("value") == "77").Change("12");
        Assert.Contains("epochs: 12", page.Find("#yaml").GetAttribute("value"), StringComparison.Ordinal);
    }

    [Fact]
    public void Templates_AllRecipes_AreValid() =>
        Assert.All(Templates.All, t => Assert.Empty(ManifestReader.ReadExperiment(t.Yaml).Problems));

    [Fact]
    public void Boundary_PageThrows_SaysSoWithAnId()
    {
        IRenderedComponent<Oops> oops = _context.Render<Oops>(p => p.Add(x => x.Error, new InvalidOperationException("secret detail")));
        Assert.Contains("could not be shown", oops.Markup, StringComparison.Ordinal);
        Assert.DoesNotContain("secret detail", oops.Markup, StringComparison.Ordinal);
    }

    [Fact]
    public void Benchmarks_SeedsOfAMethod_AreMeanAndDeviation()
    {
        RunInfo Run(string name, double probe) => new()
        {
            Run = name, BestProbe = probe, Stages = [new StageInfo { Name = "report", Phase = StagePhase.Succeeded }],
            PlanJson = System.Text.Json.JsonSerializer.Serialize(
                Planner.Plan(
                    name,
                    new ExperimentSpec
                    {
                        Training = new TrainingSpec { Method = name[0] == 'a' ? Method.InfoNCE : Method.CoCLR }, Seed = name[1] - '0'
                    }),
                CoCLR.Core.CoclrJson.Compact)
        };
        SuiteMatrix matrix = Suites.Matrix(
            [Run("a0", 0.5), Run("a1", 0.6), Run("b0", 0.9)],
            "training.method",
            "",
            Suites.Reader("probe", "best", _ => throw new InvalidOperationException("the best is known without the stages' results")));
        Assert.Equal(["InfoNCE", "CoCLR"], matrix.Rows);
        Assert.Equal("55.0 ± 7.1", Suites.Show(matrix.Cells[0][0], "probe"));
        Assert.Equal("90.0", Suites.Show(matrix.Cells[1][0], "probe"));
        Assert.Contains("training.method", Suites.Differing([Run("a0", 0), Run("b0", 0)]));
    }

    [Fact]
    public void Benchmarks_ViewIsChosen_ShowsThatViewsMeasures()
    {
        var samples = new SampleRuns(_folder["runs"]);
        string run = samples.Write("one", Method.CoCLR, epochs: 4, previews: false).Run;
        samples.Write("two", Method.InfoNCE, epochs: 4, previews: false);
        _context.Services.GetRequiredService<RunFolders>().Scan();
        RunInfo info = _context.Services.GetRequiredService<RunStore>().Find(run)!;
        IReadOnlyList<StageResult> results = _context.Services.GetRequiredService<RunResults>().All(info);
        foreach ((string view, string probe, string retrieve) in new[] { ("rgb", "probe-rgb", "retrieve-rgb"), ("flow", "probe-flow", "retrieve-flow") })
        {
            _context.Services.GetRequiredService<NavigationManager>().NavigateTo($"benchmarks?view={view}");
            string row = _context.Render<BenchmarksPage>().FindAll("tbody tr")
                .First(r => r.TextContent.Contains("CoCLR", StringComparison.Ordinal)).TextContent;
            Assert.Contains(
                Percent(((ProbeResult)results.First(r => r.Stage == probe).Outcome).Accuracy.Top1), row, StringComparison.Ordinal);
            Assert.Contains(
                Percent(((RetrievalResult)results.First(r => r.Stage == retrieve).Outcome).RecallAt(1)!.Value),
                row,
                StringComparison.Ordinal);
        }

        static string Percent(double fraction) => (fraction * 100).ToString("0.0", System.Globalization.CultureInfo.InvariantCulture);
    }

    [Fact]
    public void Sparkline_OddValues_DrawOrSaySo()
    {
        Assert.Contains("–", _context.Render<Sparkline>(p => p.Add(x => x.Values, [1f])).Markup, StringComparison.Ordinal);
        Assert.DoesNotContain(
            "NaN",
            _context.Render<Sparkline>(p => p.Add(x => x.Values, [1f, float.NaN, 1f, float.PositiveInfinity, 1f])).Markup,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Compare_TwoRuns_ShowsDifferencesAndOneTable()
    {
        var samples = new SampleRuns(_folder["runs"]);
        string a = samples.Write("one", Method.CoCLR, epochs: 4, previews: false).Run,
        b = samples.Write("two", Method.InfoNCE, epochs: 4, previews: false).Run;
        _context.Services.GetRequiredService<RunFolders>().Scan();
        _context.Services.GetRequiredService<NavigationManager>().NavigateTo($"compare?runs={a},{b}");
        IRenderedComponent<ComparePage> page = _context.Render<ComparePage>();
        Assert.Contains("training.method", page.Markup, StringComparison.Ordinal);
        Assert.Equal(2, page.FindAll("article.query-row").Count);
        Assert.Contains(
            page.FindAll("tbody tr"),
            r => r.TextContent.Contains("InfoNCE", StringComparison.Ordinal) && r.TextContent.Contains("two", StringComparison.Ordinal));
    }
}
