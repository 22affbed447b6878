// Why this exists: which line stands at which row of a long log, after restarts, filters, late stages and dropped lines.
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;

namespace CoCLR.Dashboard.Tests.Storage;

public sealed class LogRowsTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Window_AnyPlace_HasTheLinesInOrder_AndTheEndGrows()
    {
        using (RunStore first = Make.Store(_folder.Path))
        {
            first.Apply("r1", "pretrain-rgb", [.. Enumerable.Range(0, 5000).Select(i => Make.Log(i, $"line {i}"))]);
            first.Flush();
        }

        using RunStore store = Make.Store(_folder.Path);
        LogRows rows = Rows(store);
        Assert.Equal(5000, rows.Update());
        foreach (int from in (int[])[0, 200, 255, 256, 4000, 4990])
        {
            Assert.Equal(Enumerable.Range(from, 10).Select(i => $"line {i}"), Texts(rows.Window(from, 10)));
        }

        Assert.Equal(["line 4998", "line 4999"], Texts(rows.Window(-1, 2)));
        store.Apply("r1", "pretrain-rgb", [Make.Log(5000, "new")]);
        Assert.Equal(5001, rows.Update());
        Assert.Equal(["line 4999", "new"], Texts(rows.Window(-1, 2)));
    }

    [Fact]
    public void Window_StagesThatRanTogether_AreWovenByTime()
    {
        using RunStore store = Make.Store(_folder.Path);
        LogRows rows = Rows(store);
        store.Apply("r1", "pretrain-rgb", [Make.Log(0, "a"), Make.Log(4, "c"), Make.Log(8, "e")]);
        rows.Update();
        store.Apply("r1", "pretrain-flow", [Make.Log(2, "b", stage: "pretrain-flow"), Make.Log(6, "d", stage: "pretrain-flow")]);
        rows.Update();
        Assert.Equal(["a", "b", "c", "d", "e"], Texts(rows.Window(0, 10)));
    }

    [Fact]
    public void Window_LinesThatWereDropped_LeaveNoHole()
    {
        using RunStore store = Make.Store(_folder.Path, o => o.Limits.LogLines = 600);
        LogRows rows = Rows(store);
        for (int i = 0; i < 4000; i += 500)
        {
            store.Apply("r1", "pretrain-rgb", [.. Enumerable.Range(i, 500).Select(j => Make.Log(j, $"line {j}"))]);
            store.Flush();
            rows.Update();
        }

        LogWindow all = rows.Window(0, 1000);
        Assert.Equal(all.Total, all.Rows.Count);
        Assert.Equal(Enumerable.Range(4000 - all.Total, all.Total).Select(i => $"line {i}"), Texts(all));
    }

    [Fact]
    public void NextError_GoesOnAndAround()
    {
        using RunStore store = Make.Store(_folder.Path);
        store.Apply(
            "r1",
            "pretrain-rgb",
            [.. Enumerable.Range(0, 300).Select(i => Make.Log(i, i is 40 ? "two\nlines" : $"{i}", i is 40 or 200 ? "error" : "info"))]);
        LogRows rows = Rows(store);
        rows.Update();
        Assert.Equal(40, rows.NextError(-1));
        Assert.Equal(201, rows.NextError(40));
        Assert.Equal(40, rows.NextError(201));
        Assert.Equal(-1, Rows(store, level: "debug").NextError(-1));
    }

    [Theory]
    [InlineData("plain", 80, new[] { "plain" })]
    [InlineData("one\ntwo\n\nfour\n", 80, new[] { "one", "two", "", "four" })]
    [InlineData("abcdefgh", 3, new[] { "abc", "def", "gh" })]
    [InlineData("\u001b[31mabcd\u001b[0mef", 3, new[] { "abc", "def" })]
    [InlineData("\u001b[31mab\ncd\u001b[0mef", 80, new[] { "ab", "cdef" })]
    [InlineData("", 80, new[] { "" })]
    public void Message_IsCutIntoAsManyRowsAsItsHeightSays(string message, int columns, string[] rows)
    {
        Assert.Equal(rows, Ansi.Rows(message, columns).Select(r => string.Concat(r.Select(p => p.Text))));
        Assert.Equal(rows.Length, Ansi.Height(message, columns));
    }

    private static LogRows Rows(RunStore store, string? level = null) => new(store, "r1", null, level, null, int.MaxValue);

    private static IEnumerable<string> Texts(LogWindow window) => window.Rows.Select(r => string.Concat(r.Pieces.Select(p => p[0])));
}
