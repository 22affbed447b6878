// Why this exists: a stage may be killed at any byte, started again, or replaced; whoever follows its log must neither lose an event nor
// take half of one.
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;

namespace CoCLR.Runs.Tests;

public sealed class EventTailTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("coclr-tail-").FullName;

    private string FilePath => Path.Combine(_folder, RunFolder.EventsName);

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Read_FileThatDoesNotExistYet_GivesNothing() => Assert.Empty(new EventTail(FilePath).Read());

    [Fact]
    public void Read_LineCutAtEveryByte_ComesOnceAndWhole()
    {
        byte[] bytes = Encoding.UTF8.GetBytes(Line(0) + Line(1));
        var tail = new EventTail(FilePath);
        var seen = new List<long>();
        foreach (byte b in bytes)
        {
            Append([b]);
            seen.AddRange(tail.Read().Select(e => e.Seq));
        }

        Assert.Equal([0, 1], seen);
        Assert.Equal(bytes.Length, tail.Position);
    }

    [Fact]
    public void Read_TornLineThatTheNextAttemptCutsOff_LosesNothing()
    {
        Append(Line(0) + Line(1)[..20]);
        var tail = new EventTail(FilePath);
        EventTail late = EventTail.AtEnd(FilePath);
        Assert.Equal([0], tail.Read().Select(e => e.Seq));
        using (EventLog log = EventLog.Open(FilePath, "r", "decode"))
        {
            log.Log("again");
        }

        Assert.Equal(2, Assert.Single(tail.Read()).Attempt);
        Assert.Equal(2, Assert.Single(late.Read()).Attempt);
    }

    [Fact]
    public void Read_FileReplacedByAShorterOne_BeginsAnew()
    {
        Append(Line(0) + Line(1));
        var tail = new EventTail(FilePath);
        Assert.Equal(2, tail.Read().Count());
        File.WriteAllText(FilePath, Line(7));
        Assert.Equal([7], tail.Read().Select(e => e.Seq));
    }

    [Fact]
    public void Read_LinesThatAreNoEvents_AreNamedAndPassedOver()
    {
        Append("{\"run\":\"r\"" + "\n" + "{\"kind\":\"of tomorrow\",\"run\":\"r\"}\n\n" + Line(3));
        var problems = new List<string>();
        var events = new List<RunEvent>();
        Assert.True(new EventTail(FilePath).Read(events, problems.Add));
        Assert.Equal([3], events.Select(e => e.Seq));
        Assert.Single(problems);
    }

    [Fact]
    public void Read_LineLongerThanTheLimit_IsPassedOverAndTheNextCounts()
    {
        Append(Line(0));
        Append(new string('x', EventTail.MaxLine + 100) + "\n" + Line(1));
        var problems = new List<string>();
        var seen = new List<long>();
        var tail = new EventTail(FilePath);
        var events = new List<RunEvent>();
        while (tail.Read(events, problems.Add))
        {
            seen.AddRange(events.Select(e => e.Seq));
            events.Clear();
        }

        Assert.Equal([0, 1], seen);
        Assert.Contains("longer than 8 MiB", Assert.Single(problems), StringComparison.Ordinal);
        Assert.Equal(new FileInfo(FilePath).Length, tail.Position);
    }

    [Fact]
    public void ReadLines_LineLongerThanTheBatch_ComesAlone()
    {
        string wide = Line(0, new string('m', 5000));
        Append(wide + Line(1));
        var tail = new EventTail(FilePath);
        Assert.StartsWith(wide.TrimEnd('\n'), tail.ReadLines(100)[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Watch_FileThatGrows_WakesTheReader()
    {
        // The clock of the slow look stands still: only the system's word can end the wait.
        using var watch = new FolderWatch(new Microsoft.Extensions.Time.Testing.FakeTimeProvider());
        watch.Add(_folder);
        Task woken = watch.WaitAsync(TimeSpan.FromHours(1), TestContext.Current.CancellationToken);
        Append(Line(0));
        await woken;
    }

    [Fact]
    public async Task Watch_NothingToWatch_LooksFromTimeToTime()
    {
        var clock = new Microsoft.Extensions.Time.Testing.FakeTimeProvider();
        using var watch = new FolderWatch(clock);
        watch.Add(Path.Combine(_folder, "missing"));
        Task woken = watch.WaitAsync(TimeSpan.FromSeconds(3), TestContext.Current.CancellationToken);
        Assert.False(woken.IsCompleted);
        clock.Advance(TimeSpan.FromSeconds(3));
        await woken;
    }

    private static string Line(long seq, string message = "m") =>
        JsonSerializer.Serialize<RunEvent>(
            new LogEvent { Run = "r", Stage = "decode", Attempt = 1, Seq = seq, Time = default, Level = "info", Message = message },
            CoclrJson.Compact) + "\n";

    private void Append(string text) => Append(Encoding.UTF8.GetBytes(text));

    private void Append(byte[] bytes)
    {
        using var stream = new FileStream(FilePath, FileMode.Append, FileAccess.Write, FileShare.ReadWrite);
        stream.Write(bytes);
    }
}
