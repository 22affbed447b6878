// Why this exists: the main job from end to end, as a person does it: a manifest in, a table out, then the learned network put to use.
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Results;

namespace CoCLR.Cli.Tests;

public sealed class WholeRunTests(TinyExperiment tiny) : IClassFixture<TinyExperiment>
{
    [Fact]
    public async Task Run_AllStagesOfCoCLR_ThenEmbedSearchAndExport()
    {
        string runs = Path.Combine(tiny.Folder, "runs");
        Finished run = (await RunAsync("run", "-f", tiny.ManifestFile, "-w", runs, "--json")).Expect(0);
        RunReport report = ResultJson.Read<RunReport>(run.Output, "the output");
        Assert.Equal(["rgb", "flow", "two-stream"], report.Rows.Where(r => r.Kind == ReportRowKind.Learned).Select(r => r.View));
        Assert.All(report.Rows.Where(r => r.Kind == ReportRowKind.Learned), r =>
        {
            Assert.InRange(r.LinearProbe!.Value, 0, 1);
            Assert.Contains(r.Recalls, recall => recall.K == 1);
        });
        Assert.Contains(report.Rows, r => r.Kind == ReportRowKind.Random);
        string folder = Assert.Single(Directory.GetDirectories(runs, "tiny-*"));
        Assert.True(File.Exists(Path.Combine(folder, "report.md")));

        if (Environment.ProcessorCount > 1)
        {
            // The views learn side by side.
            Assert.InRange(
                run.Errors.IndexOf("pretrain-flow: starting", StringComparison.Ordinal),
                0,
                run.Errors.IndexOf("pretrain-rgb: done", StringComparison.Ordinal));
        }

        // Every metric that the dashboard draws was told, for the pretext task and, in a turn, for mining; each epoch shows what was mined.
        string[] told =
        [
            MetricNames.Loss, MetricNames.Top1, MetricNames.Top5, MetricNames.LearningRate, MetricNames.GradientNorm,
            MetricNames.ClipsPerSecond, MetricNames.WaitShare, MetricNames.Memory
        ];
        string[] monitored =
        [
            MetricNames.MonitorKnn, MetricNames.MonitorRecallAt1, MetricNames.MonitorEffectiveRank, MetricNames.MonitorAlignment,
            MetricNames.MonitorUniformity,
            MetricNames.MonitorCollapsed,
        ];
        Assert.Empty(told.Concat(monitored).Except(Metrics(folder, "pretrain-rgb")));
        Assert.Empty(monitored.Except(Metrics(folder, "cycle-1-flow")));
        var turn = (PretrainResult)ResultJson.Read<StageResult>(
            await File.ReadAllTextAsync(Path.Combine(folder, "stages", "cycle-1-rgb", "result.json"), TestContext.Current.CancellationToken), "the turn").Outcome;
        Assert.Equal([1, 2, 3], turn.Monitor.Select(p => p.Epoch));
        var watched = new List<NeighbourTable>();
        foreach (MonitorPoint point in turn.Monitor)
        {
            string file = Path.Combine(folder, "stages", "cycle-1-rgb", "artifacts", $"watched-{point.Epoch:D4}.json");
            watched.Add(ResultJson.Read<NeighbourTable>(await File.ReadAllTextAsync(file, TestContext.Current.CancellationToken), file));
        }

        Assert.All(watched, w => Assert.InRange(w.Queries.Length, 1, 12));
        Assert.All(watched, w => Assert.Equal(watched[0].Queries.Select(q => q.Id), w.Queries.Select(q => q.Id)));
        Assert.All(watched.SelectMany(w => w.Queries), q => Assert.DoesNotContain(q.Id, q.Neighbours.Select(n => n.Id)));
        Assert.Empty(
            told.Concat([MetricNames.MiningPrecision, MetricNames.MiningAgreement, MetricNames.MiningAge])
                .Except(Metrics(folder, "cycle-1-rgb")));
        Assert.Equal(3, Events(folder, "cycle-1-rgb").OfType<MiningEvent>().Select(e => e.Epoch).Distinct().Count());

        await ReportAsync(folder);

        // A finished run costs nothing more.
        Finished again = (await RunAsync("run", "-f", tiny.ManifestFile, "-w", runs)).Expect(0);
        Assert.DoesNotContain("starting", again.Errors, StringComparison.Ordinal);

        string videos = Assert.Single(Directory.GetDirectories(tiny.Cache, "synthetic-*"));
        string collection = Path.Combine(tiny.Folder, "collection");
        string checkpoint = Path.Combine(folder, "stages", "cycle-1-rgb");
        (await RunAsync("embed", videos, "-c", checkpoint, "-o", collection, "--format", "csv", "--cache", tiny.Cache)).Expect(0);
        Assert.True(File.Exists(Path.Combine(collection, "features.csv")));
        string query = Directory.EnumerateFiles(videos, "*.mp4", SearchOption.AllDirectories).Order(StringComparer.Ordinal).First();
        Finished search = (await RunAsync("search", collection, query, "-k", "3", "--json")).Expect(0);
        JsonElement hits = JsonDocument.Parse(search.Output).RootElement;
        Assert.Equal(3, hits.GetArrayLength());
        Assert.Equal(Path.GetFileName(query), Path.GetFileName(hits[0].GetProperty("id").GetString()));
        Assert.InRange(hits[0].GetProperty("distance").GetDouble(), 0, hits[1].GetProperty("distance").GetDouble());

        // The report says where its numbers come from, and the manifest beside it starts the same run.
        JsonElement provenance = JsonDocument.Parse(
            await File.ReadAllTextAsync(
                Path.Combine(folder, "report.json"), TestContext.Current.CancellationToken)).RootElement.GetProperty("provenance");
        Assert.Matches("^[0-9a-f]{64}$", provenance.GetProperty("dataFingerprint").GetString());
        Assert.Equal("coclr run -f manifest.yaml", provenance.GetProperty("command").GetString());
        Assert.Contains(
            "libtorch",
            await File.ReadAllTextAsync(Path.Combine(folder, "report.md"), TestContext.Current.CancellationToken),
            StringComparison.Ordinal);
        string hash = provenance.GetProperty("manifestHash").GetString()!;
        ExperimentSpec same = ManifestReader.ReadExperiment(
            await File.ReadAllTextAsync(Path.Combine(folder, "manifest.yaml"), TestContext.Current.CancellationToken)).Manifest!.Spec;
        Assert.Equal(hash, SpecHash.Of(same));

        string exported = Path.Combine(tiny.Folder, "s3d.safetensors");
        (await RunAsync("export", checkpoint, exported, "--what", "encoder")).Expect(0);
        (await RunAsync("import", exported, Path.Combine(tiny.Folder, "imported"), "--backbone", "S3DMini", "--width", "0.0625")).Expect(0);
        Finished other = await RunAsync("import", exported, Path.Combine(tiny.Folder, "refused"), "--backbone", "S3D");
        await HandOverAsync(checkpoint, videos, query);
        Assert.Contains("does not fit this network", other.Expect(ExitCodes.BadConfiguration).Errors, StringComparison.Ordinal);
    }

    /// <summary>The run as pages that open from a disk, as TensorBoard's events and as Parquet.</summary>
    private async Task ReportAsync(string folder)
    {
        string target = Path.Combine(tiny.Folder, "report");
        (await RunAsync("report", folder, "-o", target, "--format", "html", "--format", "tensorboard", "--format", "parquet")).Expect(0);
        string page = await File.ReadAllTextAsync(Path.Combine(target, "index.html"), TestContext.Current.CancellationToken);
        Assert.Contains("two-stream", page, StringComparison.Ordinal);
        Assert.Contains("<polyline", page, StringComparison.Ordinal);
        Assert.DoesNotMatch("(src|href)=\"(https?:|/)", page);
        foreach (string link in System.Text.RegularExpressions.Regex.Matches(page, "href=\"([^\"]+)\"").Select(m => m.Groups[1].Value))
        {
            Assert.True(File.Exists(Path.Combine(target, link)), link);
        }

        string run = Path.GetFileName(folder);
        Assert.True(new FileInfo(Path.Combine(target, run + ".parquet")).Length > 1000);
        string[] logs = [.. Directory.GetDirectories(Path.Combine(target, run)).Select(d => Path.GetFileName(d))];
        Assert.Superset(new HashSet<string> { "pretrain-rgb", "cycle-1-rgb" }, logs.ToHashSet());
        Assert.Contains(
            "no report.json",
            (await RunAsync("report", tiny.Prepared, "-o", target)).Expect(ExitCodes.MissingInput).Errors,
            StringComparison.Ordinal);
    }

    /// <summary>
    /// What one verb writes, the next one takes: export, import, embed, search, with safetensors (which say what they are) and with
    /// PyTorch's files.
    /// </summary>
    private async Task HandOverAsync(string checkpoint, string videos, string query)
    {
        string[] pytorch = ["--backbone", "S3DMini", "--width", "0.0625"];
        string[] looks = ["--frames", "8", "--size", "32"];
        foreach ((string name, string what, string[] network, string[] input) in new[]
        {
            ("a.safetensors", "encoder", (string[])[], (string[])[]), ("b.safetensors", "backbone", [], []),
            ("c.pth", "encoder", pytorch, looks), ("d.pth", "backbone", pytorch, looks),
        })
        {
            string folder = Path.Combine(tiny.Folder, "handed", name);
            Directory.CreateDirectory(Path.GetDirectoryName(folder)!);
            (await RunAsync("export", checkpoint, folder + Path.GetExtension(name), "--what", what)).Expect(0);
            (await RunAsync(["import", folder + Path.GetExtension(name), folder, .. network])).Expect(0);
            Finished embedded =
                (await RunAsync(["embed", videos, "-c", folder, "-o", folder + "-collection", "--cache", tiny.Cache, .. input])).Expect(0);
            Assert.Equal(input.Length > 0, embedded.Errors.Contains("does not say what it looks at", StringComparison.Ordinal));
            JsonElement hits = JsonDocument.Parse(
                (await RunAsync("search", folder + "-collection", query, "-k", "1", "--json")).Expect(0).Output).RootElement;
            Assert.Equal(Path.GetFileName(query), Path.GetFileName(hits[0].GetProperty("id").GetString()));
        }
    }

    [Fact]
    public async Task Run_Previews_AreMadeByFewProcesses_AndHoldUpNoResult()
    {
        string runs = Path.Combine(tiny.Folder, "runs-previews");
        string tool = Path.Combine(tiny.Folder, "ffmpeg.sh");
        await File.WriteAllTextAsync(
            tool,
            $"#!/bin/sh\ncase \"$*\" in *libx264*) ls '{runs}'/tiny-*/stages/report/result.json '{runs}'/tiny-*/report.json >/dev/null || "
                + $"exit 9; echo x >>'{tool}.log';; esac\nexec ffmpeg \"$@\"\n",
            TestContext.Current.CancellationToken);
        File.SetUnixFileMode(tool, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        using System.Diagnostics.Process process = Coclr.StartWith(
            new() { ["COCLR_CACHE_DIR"] = tiny.Cache, ["COCLR_FFMPEG"] = tool },
            "run", "-f", tiny.ManifestFile, "-w", runs, "--set", "training.method=InfoNCE", "--set", "training.epochs=1", "--set",
            "evaluation.retrieval.previews=true");
        (await Coclr.EndAsync(process)).Expect(0);
        string stage = Path.Combine(Assert.Single(Directory.GetDirectories(runs, "tiny-*")), "stages", "report");
        string json = await File.ReadAllTextAsync(Path.Combine(stage, "artifacts", "previews.json"), TestContext.Current.CancellationToken);
        PreviewTable table = ResultJson.Read<PreviewTable>(json, "previews.json");
        Assert.Empty(table.LeftOut);
        Assert.Equal(["flow", "rgb"], table.Previews.Select(p => p.View).Distinct().Order());
        Assert.InRange(table.Previews.Length, 20, 1000);
        Assert.Single(await File.ReadAllLinesAsync(tool + ".log", TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Run_Suite_EndsInOneTable()
    {
        string file = Path.Combine(tiny.Folder, "suite.yaml"), runs = Path.Combine(tiny.Folder, "runs-suite");
        string template = string.Join(
            '\n',
            TinyExperiment.Manifest.Split('\n').SkipWhile(l => !l.StartsWith("spec:", StringComparison.Ordinal)).Skip(1)
                .Select(l => "  " + l));
        await File.WriteAllTextAsync(file, $"""
            apiVersion: coclr.dev/v1alpha1
            kind: CoCLRBenchmark
            metadata: {"{name: pair}"}
            spec:
              matrix: [{"{name: method, field: training.method, values: [InfoNCE, UberNCE]}"}]
              baseline: [{"{axis: method, value: InfoNCE}"}]
              parallelism: 2
              template:
                views: [RGB]
            """ + "\n" + template, TestContext.Current.CancellationToken);
        Finished plan = (await RunAsync("run", "-f", file, "-w", runs, "--dry-run")).Expect(0);
        Assert.Equal(2, plan.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);

        Finished run = (await RunAsync("run", "-f", file, "-w", runs, "--json")).Expect(0);
        string[][] rows = [
            .. JsonDocument.Parse(run.Output).RootElement.GetProperty("rows").EnumerateArray()
                .Select(r => r.EnumerateArray().Select(c => c.GetString()!).ToArray())];
        Assert.Equal(["method=InfoNCE", "method=UberNCE", "Random features", "Chance"], rows.Select(r => r[0]));
        Assert.Equal("-", rows[0][^1]);
        const string difference = @"([+-]\d+\.\d|0\.0)";
        Assert.Matches($@"^{difference} \[{difference}, {difference}\]$", rows[1][^1]); // with its 95 % interval
        Assert.Contains(
            "method=UberNCE",
            await File.ReadAllTextAsync(Path.Combine(runs, "suites", "pair.md"), TestContext.Current.CancellationToken),
            StringComparison.Ordinal);

        Finished again = (await RunAsync("run", "-f", file, "-w", runs)).Expect(0);
        Assert.DoesNotContain("starting", again.Errors, StringComparison.Ordinal);

        // The same results against what a suite expects: the exit code is the gate.
        string kept = await File.ReadAllTextAsync(file, TestContext.Current.CancellationToken);
        async Task<Finished> Expecting(string minimum)
        {
            await File.WriteAllTextAsync(
                file,
                kept.Replace(
                    "  parallelism: 2",
                    $"  parallelism: 2\n  expect: [{{measure: linearProbeTop1, minimum: \"{minimum}\"}}]",
                    StringComparison.Ordinal),
                TestContext.Current.CancellationToken);
            return await RunAsync("run", "-f", file, "-w", runs);
        }

        Assert.Contains(
            "not met: method=InfoNCE, rgb, linear probe:",
            (await Expecting("1")).Expect(ExitCodes.Failed).Errors,
            StringComparison.Ordinal);
        Assert.Contains("met: method=UberNCE, rgb, linear probe:", (await Expecting("0")).Expect(0).Errors, StringComparison.Ordinal);
        Assert.Contains(
            "--set", (await RunAsync("run", "-f", file, "--set", "seed=1")).Expect(ExitCodes.Usage).Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("UberNCE", "")]
    [InlineData("CMC", "")]
    [InlineData("CoCLR", "cotrain.order=simultaneous")]
    [InlineData("InfoNCE", "training.compatibility=reference")]
    public async Task Run_EveryMethod_EndsInAReport(string method, string set)
    {
        string[] more = set.Length == 0 ? [] : ["--set", set];
        Finished run = (
            await RunAsync(
                [
                    "run", "-f", tiny.ManifestFile, "-w", Path.Combine(tiny.Folder, "runs-" + method), "--json", "--set",
                    $"training.method={method}", "--set", "training.epochs=1", "--set", "cotrain.epochsPerTurn=1", .. more
                ]))
            .Expect(0);
        Assert.Contains(ResultJson.Read<RunReport>(run.Output, "the output").Rows, r => r.Method == method && r.View == "two-stream");
    }

    [Fact]
    public async Task Run_WithFineTuningAndProbeOnClips_HasTheirRowsForBothViewsAndTheirFusion()
    {
        Finished run = (await RunAsync(
            "run", "-f", tiny.ManifestFile, "-w", Path.Combine(tiny.Folder, "runs-classifiers"), "--json", "--set",
            "training.method=InfoNCE", "--set", "training.epochs=1",
            "--set", "evaluation.finetune={\"enabled\": true, \"epochs\": 2, \"batchSize\": 4}",
            "--set", "evaluation.linearProbe={\"mode\": \"endToEnd\", \"epochs\": 2, \"batchSize\": 4, \"selection\": \"holdout\"}"))
                .Expect(0);
        RunReport report = ResultJson.Read<RunReport>(run.Output, "the output");
        Assert.Equal(
            3, report.Rows.Count(r => r.Kind == ReportRowKind.Learned && r.LinearProbe is >= 0 and <= 1 && r.FineTune is >= 0 and <= 1));
    }

    [Fact]
    public async Task Run_VideosWithoutLabels_ShowsNeighboursWithoutRecall()
    {
        string videos = Path.Combine(tiny.Folder, "unlabelled");
        Directory.CreateDirectory(videos);
        foreach ((int i, string file) in Directory.EnumerateFiles(Directory.GetDirectories(tiny.Cache, "synthetic-*")[0], "*.mp4", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Index())
        {
            File.Copy(file, Path.Combine(videos, $"clip {i}.mp4"));
        }

        string manifest = Path.Combine(tiny.Folder, "unlabelled.yaml");
        await File.WriteAllTextAsync(
            manifest,
            TinyExperiment.Manifest.Replace(
                "synthetic: {classes: 2, trainGroups: 3, testGroups: 2, groupSize: 2, frames: 12, size: 36}",
                $"path: {videos}",
                StringComparison.Ordinal).Replace("name: tiny", "name: unlabelled", StringComparison.Ordinal),
            TestContext.Current.CancellationToken);
        string runs = Path.Combine(tiny.Folder, "runs-unlabelled");
        Finished run = (
            await RunAsync(
                "run",
                "-f",
                manifest,
                "-w",
                runs,
                "--json",
                "--set",
                "training.method=InfoNCE",
                "--set",
                "training.epochs=1",
                "--set",
                "views=[\"RGB\"]"))
            .Expect(0);
        Assert.All(
            ResultJson.Read<RunReport>(run.Output, "the output").Rows, r => Assert.True(r.LinearProbe is null && r.Recalls.Length == 0));
        string folder = Assert.Single(Directory.GetDirectories(runs, "unlabelled-*"));
        NeighbourTable table = ResultJson.Read<NeighbourTable>(
            await File.ReadAllTextAsync(
                Path.Combine(folder, "stages", "retrieve-rgb", "artifacts", "neighbours.json"), TestContext.Current.CancellationToken),
            "neighbours.json");
        Assert.NotEmpty(table.Queries);
        Assert.All(table.Queries, q => Assert.NotEmpty(q.Neighbours));

        // Without labels there is nothing that UberNCE could call positive.
        Finished refused =
            (await RunAsync("run", "-f", manifest, "-w", runs, "--set", "training.method=UberNCE", "--set", "views=[\"RGB\"]"))
            .Expect(ExitCodes.BadData);
        Assert.Contains("UberNCE needs a label", refused.Errors, StringComparison.Ordinal);
    }

    private async Task<Finished> RunAsync(params string[] arguments)
    {
        using System.Diagnostics.Process process = Coclr.StartWith(new() { ["COCLR_CACHE_DIR"] = tiny.Cache }, arguments);
        return await Coclr.EndAsync(process);
    }

    private static IEnumerable<RunEvent> Events(string run, string stage) =>
        Coclr.ReadShared(Path.Combine(run, "stages", stage, "events.jsonl")).Split('\n').SkipLast(1)
            .Select(line => JsonSerializer.Deserialize<RunEvent>(line, CoclrJson.Compact)!);

    private static IEnumerable<string> Metrics(string run, string stage) =>
        Events(run, stage).OfType<MetricEvent>().SelectMany(e => e.Values.Keys).Distinct();

    [Fact]
    public async Task Run_RealVideos_TrainsAndEvaluatesEveryStage()
    {
        string data = Environment.GetEnvironmentVariable("COCLR_TEST_DATA_DIR") ?? Path.Combine(
            Environment.GetEnvironmentVariable("COCLR_ROOT") ?? Path.Combine(AppContext.BaseDirectory, "../../../../.."),
            "..",
            "shared",
            "data");
        string videos = Path.GetFullPath(Path.Combine(data, "weizmann"));
        if (!Directory.Exists(videos))
        {
            Assert.Skip($"{videos} is not there");
        }

        string file = Path.Combine(tiny.Folder, "real.yaml");
        await File.WriteAllTextAsync(
            file,
            TinyExperiment.Manifest.Replace(
                "synthetic: {classes: 2, trainGroups: 3, testGroups: 2, groupSize: 2, frames: 12, size: 36}",
                $"path: {videos}",
                StringComparison.Ordinal).Replace("name: tiny", "name: real", StringComparison.Ordinal),
            TestContext.Current.CancellationToken);
        Finished run = (
            await RunAsync(
                "run",
                "-f",
                file,
                "-w",
                Path.Combine(tiny.Folder, "real"),
                "--json",
                "--set",
                "training.epochs=4",
                "--set",
                "cotrain.epochsPerTurn=1",
                "--set",
                "evaluation.linearProbe.epochs=100"))
            .Expect(0);
        RunReport report = ResultJson.Read<RunReport>(run.Output, "the output");
        Assert.Equal((10, 30), (report.Classes, report.TestVideos));
        Assert.Contains(report.Rows, r => r.View == "two-stream" && r.LinearProbe > 0.1);
    }
}
