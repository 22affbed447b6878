// Why this exists: what the index promises: nothing twice, nothing lost over a restart, bounded, and calm over bad input.
using CoCLR.Core.Events;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;
using Microsoft.Extensions.Time.Testing;

namespace CoCLR.Dashboard.Tests.Storage;

public sealed class RunStoreTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Apply_SameEventsTwiceAndOutOfOrder_ChangeNothing()
    {
        using RunStore store = Make.Store(_folder.Path);
        RunEvent[] events = [Make.Started(), .. Enumerable.Range(1, 50).Select(i => Make.Metric(i, i, 1.0 / i))];

        Assert.Equal(51, store.Apply("r1", "pretrain-rgb", [.. events.Reverse()]));
        Assert.Equal(0, store.Apply("r1", "pretrain-rgb", events));

        Curve curve = Assert.Single(store.Curves("r1").Curves);
        Assert.Equal(Enumerable.Range(1, 50).Select(i => (long)i), curve.Steps);
        Assert.Equal(Enumerable.Range(1, 50).Select(i => (double?)(1.0 / i)), curve.Values);
        Assert.Equal(51, store.NextSeq("r1", "pretrain-rgb", 1));
    }

    // A process that was replaced may be heard last: what it says belongs to its own curve and to no summary.
    [Fact]
    public void Apply_LateEventsOfAnOlderAttempt_ChangeItsCurveOnly()
    {
        using RunStore store = Make.Store(_folder.Path);
        store.Apply(
            "r1",
            "pretrain-rgb",
            [Make.Started(attempt: 2, resumedAt: 40), Make.Metric(1, 50, 0.5, attempt: 2, epoch: 5), Result(2, 2, "CoCLR")]);
        StageInfo before = store.Find("r1")!.Stage("pretrain-rgb")!;
        store.Apply("r1", "pretrain-rgb",
        [
            Make.Started(), Make.Metric(90, 70, 3, epoch: 7), Result(91, 1, "InfoNCE"),
            new ProgressEvent
            {
                Run = "r1", Stage = "pretrain-rgb", Attempt = 1, Seq = 92, Time = Make.Start.AddSeconds(92), Phase = "train", Done = 9,
                Total = 10
            },
            new CheckpointEvent
            {
                Run = "r1", Stage = "pretrain-rgb", Attempt = 1, Seq = 93, Time = Make.Start.AddSeconds(93), Epoch = 7, Step = 70,
                File = "x"
            },
            Make.Finished(94, StageOutcome.Failed, 1, "killed"),
        ]);

        RunInfo run = store.Find("r1")!;
        StageInfo stage = run.Stage("pretrain-rgb")!;
        Assert.Equal(
            (2, StagePhase.Running, 50L, 5.0, 0.5),
            (stage.Attempt, stage.Phase, stage.Step!.Value, stage.Epoch!.Value, stage.Latest["loss"]));
        Assert.Equal(
            (before.ResultJson, before.Checkpoint, before.Done, before.Message),
            (stage.ResultJson, stage.Checkpoint, stage.Done, stage.Message));
        Assert.Equal(0.5, run.Loss);
        Assert.Equal([1, 2], stage.Attempts.Select(a => a.Attempt));
        Assert.Equal(2, store.Curves("r1").Curves.Count);

        static ResultEvent Result(long seq, int attempt, string method) => new()
        {
            Run = "r1", Stage = "pretrain-rgb", Attempt = attempt, Seq = seq, Time = Make.Start.AddSeconds(seq),
            Result = System.Text.Json.JsonSerializer.SerializeToElement(new { method }),
        };
    }

    [Theory]
    [InlineData(1)]
    [InlineData(511)]
    [InlineData(512)]
    [InlineData(513)]
    [InlineData(3000)]
    public void Apply_ManyPoints_SurviveARestartExactly(int count)
    {
        double Value(int i) => i % 97 == 5 ? double.NaN : Math.Sin(i) * 1e-3;
        using (RunStore store = Make.Store(_folder.Path))
        {
            for (int i = 0; i < count; i += 100)
            {
                store.Apply(
                    "r1",
                    "pretrain-rgb",
                    [.. Enumerable.Range(i, Math.Min(100, count - i)).Select(j => Make.Metric(j, j, Value(j), epoch: j / 10.0))],
                    offset: i);
                store.Flush();
            }
        }

        using RunStore again = Make.Store(_folder.Path);
        Curve curve = Assert.Single(again.Curves("r1", points: 100_000).Curves);
        Assert.Equal(Enumerable.Range(0, count).Select(i => Value(i) is var v && double.IsNaN(v) ? (double?)null : v), curve.Values);
        Assert.Equal(Enumerable.Range(0, count).Select(i => (float?)(i / 10.0)), curve.Epochs);
        again.Apply("r1", "pretrain-rgb", [Make.Metric(count, count, 7), Make.Metric(0, 0, 99)]);
        Assert.Equal(count + 1, Assert.Single(again.Curves("r1", points: 100_000).Curves).Values.Length);
    }

    [Fact]
    public void Curves_RestartedRunWritesOverlappingSteps_LastWriteOfAStepWins()
    {
        using RunStore store = Make.Store(_folder.Path);
        store.Apply("r1", "pretrain-rgb", [Make.Started(), Make.Metric(1, 10, 5), Make.Metric(2, 11, 4), Make.Metric(3, 11, 3)]);
        store.Apply("r1", "pretrain-rgb", [Make.Started(attempt: 2, resumedAt: 11), Make.Metric(1, 11, 2, attempt: 2)]);

        IReadOnlyList<Curve> curves = store.Curves("r1").Curves;
        Assert.Equal([5, 3], curves.Single(c => c.Attempt == 1).Values);
        Assert.Equal([2], curves.Single(c => c.Attempt == 2).Values);
        Assert.Equal([null, 11L], store.Find("r1")!.Stage("pretrain-rgb")!.Attempts.Select(a => a.ResumedAtStep));
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    [InlineData(double.NegativeInfinity)]
    [InlineData(-1e300)]
    [InlineData(double.Epsilon)]
    public void Apply_OddValues_AreKeptWithoutHarm(double odd)
    {
        using RunStore store = Make.Store(_folder.Path);
        store.Apply(
            "r1",
            "pretrain-rgb",
            [Make.Metric(0, 0, odd), Make.Metric(1, 1, odd), Make.Metric(2, -5, 1), Make.Metric(3, long.MaxValue, 2)]);
        store.Flush();

        Curve curve = Assert.Single(store.Curves("r1").Curves);
        Assert.Equal([0, 1, long.MaxValue], curve.Steps);
        Assert.Contains(double.IsFinite(odd) ? odd : null, curve.Values);
    }

    [Fact]
    public void Apply_FutureDatedEvents_AreDatedNowAndSaidSo()
    {
        var clock = new FakeTimeProvider(Make.Start);
        using RunStore store = Make.Store(_folder.Path, clock: clock);
        store.Apply("r1", "pretrain-rgb", [Make.Metric(0, 0, 1) with { Time = Make.Start.AddYears(3) }]);

        Assert.Equal(Make.Start, store.Find("r1")!.Updated);
        Assert.Contains("future", Assert.Single(store.Find("r1")!.Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public void Apply_MillionMetricNames_AreCutOff()
    {
        using RunStore store = Make.Store(_folder.Path, o => o.Limits.MetricNames = 8);
        store.Apply("r1", "pretrain-rgb", [.. Enumerable.Range(0, 500).Select(i => Make.Metric(i, i, 1, $"name-{i}"))]);

        Assert.Equal(8, store.CurveNames("r1").Count);
        Assert.Single(store.Find("r1")!.Warnings);
    }

    [Fact]
    public void Apply_LogsBeyondTheLimit_DropTheOldest()
    {
        using RunStore store = Make.Store(_folder.Path, o => o.Limits.LogLines = 600);
        for (int i = 0; i < 5000; i += 250)
        {
            store.Apply("r1", "pretrain-rgb", [.. Enumerable.Range(i, 250).Select(j => Make.Log(j, $"line {j}"))]);
            store.Flush();
        }

        IReadOnlyList<LogLine> lines = store.Logs("r1", null, null, 10_000);
        Assert.Equal("line 4999", lines[^1].Message);
        Assert.InRange(lines.Count, 600, 1500);
        Assert.Equal("line 4444", Assert.Single(store.Logs("r1", "pretrain-rgb", null, 100, contains: "LINE 4444")).Message);
    }

    [Fact]
    public void Since_AfterACursor_HasNoHoleAndNoDouble()
    {
        using RunStore store = Make.Store(_folder.Path);
        var seen = new List<long>();
        long cursor = 0;
        for (int i = 0; i < 2000; i++)
        {
            store.Apply("r1", "pretrain-rgb", [Make.Metric(i, i, i), Make.Log(100_000 + i, "x")]);
            if (i % 300 == 0)
            {
                store.Flush();
            }

            if (i % 7 == 0 || i == 1999)
            {
                RunDelta delta = store.Since("r1", cursor)!;
                Assert.Equal(cursor, delta.From);
                seen.AddRange(delta.Curves.SelectMany(c => c.Steps));
                cursor = delta.To;
            }
        }

        Assert.Equal(Enumerable.Range(0, 2000).Select(i => (long)i), seen);
        Assert.Equal(2000, store.Since("r1", 0)!.Curves.Single().Steps.Length);
        Assert.Empty(store.Since("r1", cursor)!.Curves);
    }

    [Fact]
    public void State_FollowsTheStages_ToTheEnd()
    {
        using RunStore store = Make.Store(_folder.Path);
        store.Apply("r1", "pretrain-rgb", [Make.Started()]);
        Assert.Equal(RunState.Running, store.Find("r1")!.State);
        store.Apply("r1", "pretrain-rgb", [Make.Finished(5, StageOutcome.Failed, 65, "bad data")]);
        Assert.Equal(RunState.Failed, store.Find("r1")!.State);
        Assert.Equal("bad data", store.Find("r1")!.Stage("pretrain-rgb")!.Message);
        store.Apply("r1", "pretrain-rgb", [Make.Started(attempt: 2), Make.Finished(9, attempt: 2)]);
        Assert.Equal(StagePhase.Succeeded, store.Find("r1")!.Stage("pretrain-rgb")!.Phase);

        Assert.True(store.Remove("r1"));
        Assert.Null(store.Find("r1"));
        Assert.Null(store.Since("r1", 0));
        Assert.Empty(store.Curves("r1").Curves);
        store.Dispose();
        using RunStore again = Make.Store(_folder.Path);
        Assert.Empty(again.Runs);
    }

    [Fact]
    public void Retain_MoreRunsThanAllowed_DropsTheOldestThatEnded()
    {
        using RunStore store = Make.Store(_folder.Path, o => o.Limits.Runs = 3);
        for (int i = 0; i < 6; i++)
        {
            store.Apply(
                $"r{i}",
                "pretrain-rgb",
                [
                    Make.Started(run: $"r{i}"),
                    new FinishedEvent
                    {
                        Run = $"r{i}", Stage = "pretrain-rgb", Attempt = 1, Seq = 1, Time = Make.Start.AddMinutes(i),
                        Outcome = i == 0 ? StageOutcome.Terminated : StageOutcome.Failed, ExitCode = 1
                    }
                ]);
        }

        store.Apply("busy", "pretrain-rgb", [Make.Started(run: "busy")]);
        store.Retain();
        Assert.Equal(["busy", "r4", "r5"], store.Runs.Select(r => r.Run).Order());
    }

    [Fact]
    public void SeqRanges_RandomOrder_MatchASet()
    {
        var random = new Random(3);
        var ranges = new SeqRanges();
        var set = new HashSet<long>();
        for (int i = 0; i < 3000; i++)
        {
            long seq = random.Next(800);
            Assert.Equal(set.Add(seq), ranges.Add(seq));
        }

        SeqRanges again = SeqRanges.Parse(ranges.ToString());
        Assert.All(Enumerable.Range(0, 800), i => Assert.Equal(set.Contains(i), again.Contains(i)));
        long next = 0;
        while (set.Contains(next))
        {
            next++;
        }

        Assert.Equal(next, again.Next);
    }

    [Fact]
    public void Lttb_KeepsEndsAndPeaksWithinTheBudget()
    {
        List<Point> points = [
            .. Enumerable.Range(0, 100_000)
                .Select(i => new Point(i, i, i, float.NaN, i == 54_321 ? 50 : i == 77_777 ? double.NaN : Math.Sin(i / 4000.0)))];
        List<Point> thin = Downsample.Lttb(points, 1000, p => p.Step);

        Assert.InRange(thin.Count, 900, 1001);
        Assert.Equal((0, 99_999), (thin[0].Step, thin[^1].Step));
        Assert.Contains(thin, p => p.Value == 50);
        Assert.Contains(thin, p => double.IsNaN(p.Value));
        Assert.Equal(thin.OrderBy(p => p.Step), thin);
    }
}
