// Why this exists: run folders as they come: half-written lines, plans that arrive late, folders that go, files that are replaced.
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Ingest;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Tests.Ingest;

public sealed class RunFoldersTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly RunStore _store;
    private readonly RunFolders _folders;

    public RunFoldersTests()
    {
        _store = Make.Store(_folder.Path);
        _folders = new RunFolders(
            _store, Options.Create(new DashboardOptions { WorkDir = _folder.Path }), TimeProvider.System, NullLogger<RunFolders>.Instance);
    }

    public void Dispose()
    {
        _folders.Dispose();
        _store.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void Scan_RunsMadeBefore_AreThereWithResults()
    {
        var samples = new SampleRuns(_folder["runs"]);
        (string done, _, _) = samples.Write("done", Method.CoCLR, epochs: 4, previews: false);
        (string failed, _, _) = samples.Write("failed", Method.CoCLR, SampleRuns.Until.Failed, epochs: 4);
        (string planned, _, _) = samples.Write("planned", Method.Cmc, SampleRuns.Until.Planned);
        _folders.Scan();

        Assert.Equal(
            (RunState.Succeeded, RunState.Failed, RunState.Pending),
            (_store.Find(done)!.State, _store.Find(failed)!.State, _store.Find(planned)!.State));
        Assert.Equal(1, _store.Find(done)!.Progress);
        Assert.True(_store.Find(done)!.BestProbe > 0.3);
        Assert.Equal("CMC", _store.Find(planned)!.Method);
        Assert.NotEmpty(_store.Mining(done));
        Assert.Empty(_store.Find(done)!.Warnings);
    }

    [Fact]
    public void Scan_OlderStageIsReadLater_LossStaysThatOfTheNewest()
    {
        (string run, string folder, _) = new SampleRuns(_folder["runs"]).Write("two-stages", Method.CoCLR, SampleRuns.Until.Planned);
        DateTimeOffset now = DateTimeOffset.UtcNow;
        Write("cycle-1-flow", now, 0.5);
        Write("pretrain-flow", now.AddMinutes(-10), 3);
        // A copied folder keeps no order.
        File.SetLastWriteTimeUtc(Path.Combine(folder, "stages", "cycle-1-flow", "events.jsonl"), now.UtcDateTime.AddHours(-1));
        _folders.Scan();

        Assert.Equal(0.5, _store.Find(run)!.Loss);
        Assert.Equal(3, _store.Find(run)!.Stage("pretrain-flow")!.Latest[MetricNames.Loss]);

        void Write(string stage, DateTimeOffset time, double loss)
        {
            var writer = new StageWriter(folder, run, stage, time);
            writer.Add(
                new MetricEvent
                {
                    Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Step = 1, Epoch = 1, Values = new Dictionary<string,
                    double>
                    { [MetricNames.Loss] = loss }
                });
            writer.Save();
        }
    }

    [Fact]
    public void Scan_LineIsHalfWritten_WaitsForItsEnd()
    {
        (string run, string folder, _) = new SampleRuns(_folder["runs"]).Write("torn", Method.InfoNCE, SampleRuns.Until.Planned);
        string file = Path.Combine(folder, "stages", "pretrain-rgb", "events.jsonl");
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        string line = System.Text.Json.JsonSerializer.Serialize<CoCLR.Core.Events.RunEvent>(
            Make.Metric(0, 7, 0.5, run: run), CoCLR.Core.CoclrJson.Compact) + "\n";
        File.WriteAllText(file, line[..30]);
        _folders.Scan();
        Assert.Empty(_store.Curves(run).Curves);
        File.AppendAllText(
            file,
            line[30..] + "garbage\n" + line.Replace("\"seq\":0", "\"seq\":1", StringComparison.Ordinal)
                .Replace("\"step\":7", "\"step\":8", StringComparison.Ordinal));
        _folders.Scan();

        Assert.Equal([7, 8], _store.Curves(run).Curves.Single().Steps);
        Assert.Contains("cannot be read", Assert.Single(_store.Find(run)!.Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public void Scan_FolderIsGone_RunIsGone()
    {
        (string run, string folder, _) = new SampleRuns(_folder["runs"]).Write("short-lived", Method.InfoNCE, epochs: 2, previews: false);
        _folders.Scan();
        Assert.NotNull(_store.Find(run));
        Directory.Delete(folder, recursive: true);
        _folders.Scan();
        Assert.Null(_store.Find(run));
    }

    [Fact]
    public void Scan_EventsOfAnotherRunOrLinks_AreNotTaken()
    {
        (string run, string folder, _) = new SampleRuns(_folder["runs"]).Write("honest", Method.InfoNCE, SampleRuns.Until.Planned);
        string stage = Path.Combine(folder, "stages", "pretrain-rgb");
        Directory.CreateDirectory(stage);
        File.WriteAllText(
            Path.Combine(stage, "events.jsonl"),
            System.Text.Json.JsonSerializer.Serialize<CoCLR.Core.Events.RunEvent>(
                Make.Metric(0, 7, 0.5, run: "someone-else"), CoCLR.Core.CoclrJson.Compact) + "\n");
        File.WriteAllText(_folder["outside.jsonl"], "{}\n");
        Directory.CreateDirectory(Path.Combine(folder, "stages", "decode"));
        File.CreateSymbolicLink(Path.Combine(folder, "stages", "decode", "events.jsonl"), _folder["outside.jsonl"]);
        _folders.Scan();

        Assert.Null(_store.Find("someone-else"));
        Assert.Empty(_store.Curves(run).Curves);
        Assert.Contains("link", Assert.Single(_store.Find(run)!.Warnings), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{ not json")]
    [InlineData("{}")]
    [InlineData("")]
    public void Scan_PlanCannotBeRead_IsSaidNotThrown(string plan)
    {
        Directory.CreateDirectory(_folder["runs", "odd", "stages"]);
        File.WriteAllText(_folder["runs", "odd", "plan.json"], plan);
        _folders.Scan();
        Assert.NotEmpty(_store.Find("odd")!.Warnings);
    }

    // Lines that are in the file and not in the index, as after a crash between the two: what comes next must not hide them from the
    // tailer.
    [Theory]
    [InlineData("\n")]
    [InlineData("\n{\"kind\":\"metric\",\"run\":\"torn")]
    public void Append_WhileTheFileIsAheadOfTheIndex_LosesNothing(string end)
    {
        var ingest = new IngestFolders(_store, _folders, TimeProvider.System);
        Assert.Equal(2, ingest.Append("r1", Body(Make.Started(), Make.Metric(1, 1, 1))).Accepted);
        _folders.Scan();
        string file = Path.Combine(_folders.RemoteRoot, "r1", "stages", "pretrain-rgb", "events.jsonl");
        File.AppendAllText(file, Encoding.UTF8.GetString(Body(Make.Metric(2, 2, 2), Make.Metric(3, 3, 3))).TrimEnd('\n') + end);

        Assert.Equal(1, ingest.Append("r1", Body(Make.Metric(4, 4, 4))).Accepted);
        _folders.Scan();
        Assert.Equal([1, 2, 3, 4], _store.Curves("r1").Curves[0].Steps);
        Assert.Equal(end.Length == 1 ? 0 : 1, _store.Find("r1")!.Warnings.Length);
        Assert.Equal(new FileInfo(file).Length, _store.Offset("r1", "pretrain-rgb"));

        // The file holds all of it, too, each event on a line of its own.
        _store.Remove("r1");
        _folders.Scan();
        _folders.Scan();
        Assert.Equal([1, 2, 3, 4], _store.Curves("r1").Curves[0].Steps);
    }

    [Fact]
    public void Append_ThenTheIndexIsLost_IsReadFromTheFile()
    {
        var ingest = new IngestFolders(_store, _folders, TimeProvider.System);
        ingest.Append("r1", Body(Make.Started(), Make.Metric(1, 1, 1)));
        ingest.Append("r1", Body(Make.Metric(2, 2, 2)));
        _store.Remove("r1");
        _folders.Scan();
        _folders.Scan();
        Assert.Equal([1, 2], _store.Curves("r1").Curves[0].Steps);
    }

    private static byte[] Body(params IEnumerable<RunEvent> events) =>
        Encoding.UTF8.GetBytes(string.Concat(events.Select(e => JsonSerializer.Serialize(e, CoclrJson.Compact) + "\n")));
}
