// Why this exists: the file behind the index: one process, sound or put aside, migrated with a copy, never touched when it is of a newer
// version.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Ingest;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;
using LiteDB;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Tests.Storage;

public sealed class IndexDatabaseTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Data => _folder[".coclr", "dashboard"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Open_SecondOnTheSameFolder_IsRefused()
    {
        using RunStore first = Make.Store(_folder.Path);
        var refused = Assert.Throws<UserErrorException>(() => Make.Store(_folder.Path));
        Assert.Equal(ExitCodes.BadConfiguration, refused.ExitCode);
        Assert.Contains("Another dashboard", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Open_NewerSchema_IsRefusedAndUntouched()
    {
        Make.Store(_folder.Path).Dispose();
        using (var database = new LiteDatabase(new ConnectionString { Filename = IndexDatabase.PathIn(Data), Collation = Collation.Binary }))
        {
            database.UserVersion = 99;
        }

        byte[] before = File.ReadAllBytes(IndexDatabase.PathIn(Data));
        var refused = Assert.Throws<UserErrorException>(() => Make.Store(_folder.Path));
        Assert.Contains("newer version", refused.Message, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(IndexDatabase.PathIn(Data)));
    }

    [Fact]
    public void Open_OlderSchema_MigratesAndKeepsACopy()
    {
        using (RunStore store = Make.Store(_folder.Path))
        {
            store.Apply("r1", "pretrain-rgb", [Make.Metric(0, 0, 1)]);
        }

        using (IndexDatabase moved = IndexDatabase.Open(Data, migrations: [new Migration(1, d => d.GetCollection("extra").Insert(new BsonDocument { ["_id"] = 1 })), new Migration(2, d => d.GetCollection("extra").Insert(new BsonDocument { ["_id"] = 2 }))], schema: 3))
        {
            Assert.Single(moved.Runs());
            Assert.True(File.Exists(moved.Backup));
        }

        using var database = new LiteDatabase(new ConnectionString { Filename = IndexDatabase.PathIn(Data), Collation = Collation.Binary });
        Assert.Equal((3, 2), (database.UserVersion, database.GetCollection("extra").Count()));
    }

    public static TheoryData<string, Action<string>> Damages() => new()
    {
        { "garbage", p => File.WriteAllBytes(p, [.. Enumerable.Range(0, 40_000).Select(i => (byte)(i * 31))]) },
        { "truncated", p => Truncate(p, 3000) },
        { "empty", p => File.WriteAllBytes(p, []) },
        { "torn page", p => Tear(p, 8192) },
        { "torn pages", p => { for (int i = 1; i < 12; i++) { Tear(p, i * 8192); } } },
    };

    [Theory]
    [MemberData(nameof(Damages))]
    public void Open_DamagedFile_IsPutAsideAndBuiltAnewFromRunFolders(string kind, Action<string> damage)
    {
        Assert.NotEmpty(kind);
        (string run, _, _) = new SampleRuns(_folder["runs"]).Write("sample", Method.InfoNCE, epochs: 4, previews: false);
        int points;
        using (RunStore store = Make.Store(_folder.Path))
        {
            Follow(store);
            points = store.CurveNames(run).Sum(c => c.Count);
            Assert.True(points > 100);
        }

        damage(IndexDatabase.PathIn(Data));
        using RunStore again = Make.Store(_folder.Path);
        RunFolders folders = Follow(again);
        again.Curves(run);
        folders.Scan();

        Assert.Equal(points, again.CurveNames(run).Sum(c => c.Count));
        Assert.Equal(points, again.Curves(run, points: 100_000).Curves.Sum(c => c.Values.Length));
        Assert.Equal(RunState.Succeeded, again.Find(run)!.State);
    }

    [Fact]
    public void Open_DatabaseDeletedOrRebuildAsked_IsBuiltFromRunFoldersWithPeoplesWordsKept()
    {
        (string run, _, _) = new SampleRuns(_folder["runs"]).Write("sample", Method.CoCLR, epochs: 4, previews: false);
        RunInfo before;
        using (RunStore store = Make.Store(_folder.Path))
        {
            Follow(store);
            before = store.Find(run)!;
        }

        File.Delete(IndexDatabase.PathIn(Data));
        using (RunStore store = Make.Store(_folder.Path))
        {
            Assert.Empty(store.Runs);
            Follow(store);
            Assert.Equal(
                (before.State, before.Cursor, before.BestProbe),
                (store.Find(run)!.State, store.Find(run)!.Cursor, store.Find(run)!.BestProbe));
        }

        using RunStore rebuilt = Make.Store(_folder.Path, o => o.Rebuild = true);
        Follow(rebuilt);
        Assert.Equal(before.Cursor, rebuilt.Find(run)!.Cursor);
        Assert.Single(Directory.GetFiles(Data, "index.db.replaced-*"));
    }

    [Fact]
    public void BackUp_WhileWriting_CanBeOpened()
    {
        using RunStore store = Make.Store(_folder.Path);
        store.Apply("r1", "pretrain-rgb", [.. Enumerable.Range(0, 2000).Select(i => Make.Metric(i, i, i))]);
        string target = _folder["copy", ".coclr", "dashboard", "index.db"];
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        store.BackUp(target);
        store.Apply("r1", "pretrain-rgb", [Make.Metric(2000, 2000, 1)]);

        using RunStore copy = Make.Store(_folder["copy"]);
        Assert.Equal(2000, copy.Curves("r1", points: 5000).Curves.Single().Values.Length);
    }

    [Fact]
    public void Flush_FolderCannotBeWritten_SaysSoAndLosesNothing()
    {
        using RunStore store = Make.Store(_folder.Path);
        store.Apply("r1", "pretrain-rgb", [Make.Metric(0, 0, 1)]);
        store.Flush();
        Assert.Null(store.Health.ReadOnly);
        store.Apply("r1", "pretrain-rgb", [.. Enumerable.Range(1, 1000).Select(i => Make.Metric(i, i, i))]);
        Assert.Equal(1001, store.Curves("r1", points: 5000).Curves.Single().Values.Length);
        Assert.Equal(1, store.Flush());
    }

    private RunFolders Follow(RunStore store)
    {
        var folders = new RunFolders(
            store, Options.Create(new DashboardOptions { WorkDir = _folder.Path }), TimeProvider.System, NullLogger<RunFolders>.Instance);
        folders.Scan();
        store.Flush();
        return folders;
    }

    private static void Truncate(string path, int length)
    {
        using FileStream stream = File.OpenWrite(path);
        stream.SetLength(length);
    }

    private static void Tear(string path, int at)
    {
        using FileStream stream = File.Open(path, FileMode.Open);
        if (stream.Length > at + 4096)
        {
            stream.Position = at + 100;
            stream.Write(new byte[3900]);
        }
    }
}
