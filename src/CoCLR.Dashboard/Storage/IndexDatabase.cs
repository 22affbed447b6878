// Why this exists: the LiteDB file behind the index: one process opens it, damage is found and put aside, and what it holds can always be
// built anew from run folders.
using System.Globalization;
using CoCLR.Core;
using LiteDB;

namespace CoCLR.Dashboard.Storage;

/// <summary>A step from one schema to the next.</summary>
/// <param name="From">Schema that it starts from.</param>
/// <param name="Run">What it does.</param>
internal sealed record Migration(int From, Action<LiteDatabase> Run);

/// <summary>What is written in one transaction.</summary>
internal sealed class IndexBatch
{
    /// <summary>Run documents by id.</summary>
    public List<(string Run, string Json)> Runs { get; } = [];

    /// <summary>Chunks: collection, key, packed items.</summary>
    public List<(string Collection, long Key, byte[] Data)> Chunks { get; } = [];

    /// <summary>Chunks to be deleted.</summary>
    public List<(string Collection, long Key)> Dropped { get; } = [];

    /// <summary>Runs to be deleted with their key ranges.</summary>
    public List<(string Run, int Number)> DeletedRuns { get; } = [];
}

/// <summary>The index's file.</summary>
internal sealed class IndexDatabase : IDisposable
{
    /// <summary>Schema of this version.</summary>
    public const int Schema = 1;

    /// <summary>Collections of chunks.</summary>
    public const string Points = "points", Logs = "logs", Mining = "mining";

    private const string RunsName = "runs";
    private static readonly string[] Collections = [Points, Logs, Mining];
    private readonly LiteDatabase _database;
    private readonly FileStream _lock;

    private IndexDatabase(LiteDatabase database, FileStream fileLock, string? quarantine, string? backup)
    {
        (_database, _lock, Quarantine, Backup) = (database, fileLock, quarantine, backup);
    }

    /// <summary>Where a damaged file was put, when there was one.</summary>
    public string? Quarantine { get; }

    /// <summary>The copy that was made before a migration.</summary>
    public string? Backup { get; }

    /// <summary>Path of the file in a data folder.</summary>
    public static string PathIn(string folder) => Path.Combine(folder, "index.db");

    /// <summary>Opens the index of a data folder, or makes it.</summary>
    /// <param name="folder">The data folder.</param>
    /// <param name="rebuild">Starts with an empty one; the old file is put aside.</param>
    /// <param name="migrations">Steps between schemas; tests bring their own.</param>
    /// <param name="schema">Schema of this version; tests bring their own.</param>
    /// <exception cref="UserErrorException">Another dashboard has it open, or a newer version made it (exit 78).</exception>
    public static IndexDatabase Open(string folder, bool rebuild = false, IReadOnlyList<Migration>? migrations = null, int schema = Schema)
    {
        Directory.CreateDirectory(folder);
        string path = PathIn(folder);
        FileStream fileLock = Lock(folder);
        try
        {
            string? quarantine = rebuild && File.Exists(path) ? PutAside(path, "replaced") : null;
            string? backup = null;
            if (File.Exists(path))
            {
                try
                {
                    int found = ReadSchema(path);
                    if (found > schema)
                    {
                        throw new UserErrorException(
                            $"The index {path} was made by a newer version (schema {found}, this one reads {schema}); it was left "
                                + $"untouched. Start the newer version, or give another folder with --data.",
                            ExitCodes.BadConfiguration);
                    }

                    if (found < schema && found > 0)
                    {
                        backup = $"{path}.schema{found}.bak";
                        File.Copy(path, backup, overwrite: true);
                        using LiteDatabase old = OpenFile(path);
                        foreach (Migration migration in (migrations ?? []).Where(m => m.From >= found).OrderBy(m => m.From))
                        {
                            old.BeginTrans();
                            migration.Run(old);
                            old.Commit();
                            old.UserVersion = migration.From + 1;
                        }

                        old.Checkpoint();
                    }

                    LiteDatabase opened = OpenFile(path);
                    Check(opened);
                    opened.UserVersion = schema;
                    return new IndexDatabase(opened, fileLock, quarantine, backup);
                }
                catch (Exception e) when (e is not (UserErrorException or UnauthorizedAccessException or OutOfMemoryException))
                {
                    quarantine = PutAside(path, "damaged");
                }
            }

            LiteDatabase fresh = OpenFile(path);
            fresh.UserVersion = schema;
            fresh.Checkpoint();
            return new IndexDatabase(fresh, fileLock, quarantine, backup);
        }
        catch
        {
            fileLock.Dispose();
            throw;
        }
    }

    /// <summary>Whether an exception means that the file is damaged, rather than that the disk is full or the program wrong.</summary>
    public static bool IsDamage(Exception e) => e is InvalidDataException or System.Text.Json.JsonException;

    /// <summary>Every run's document.</summary>
    public IReadOnlyList<(string Run, string Json)> Runs() =>
        Reading(() => _database.GetCollection(RunsName).FindAll().Select(d => (d["_id"].AsString, d["json"].AsString)).ToList());

    /// <summary>A chunk, or null.</summary>
    public byte[]? Chunk(string collection, long key) =>
        Reading(() => _database.GetCollection(collection).FindById(new BsonValue(key))?["d"].AsBinary);

    /// <summary>Chunks whose keys lie in [from, to).</summary>
    public IReadOnlyList<byte[]> ChunkRange(string collection, long from, long to) =>
        Reading(
            () => _database.GetCollection(collection).Find(Query.Between("_id", new BsonValue(from), new BsonValue(to - 1)))
                .Select(d => d["d"].AsBinary).ToList());

    /// <summary>Writes a batch: all of it or nothing.</summary>
    public void Write(IndexBatch batch)
    {
        _database.BeginTrans();
        try
        {
            foreach ((string run, int number) in batch.DeletedRuns)
            {
                _database.GetCollection(RunsName).Delete(new BsonValue(run));
                foreach (string name in Collections)
                {
                    _database.GetCollection(name).DeleteMany(
                        Query.Between("_id", new BsonValue(Keys.Of(number, 0, 0)), new BsonValue(Keys.Of(number + 1, 0, 0) - 1)));
                }
            }

            foreach ((string collection, long key) in batch.Dropped)
            {
                _database.GetCollection(collection).Delete(new BsonValue(key));
            }

            foreach (IGrouping<string, (string Collection, long Key, byte[] Data)> group in batch.Chunks.GroupBy(c => c.Collection))
            {
                _database.GetCollection(group.Key).Upsert(group.Select(c => new BsonDocument { ["_id"] = c.Key, ["d"] = c.Data }));
            }

            if (batch.Runs.Count > 0)
            {
                _database.GetCollection(RunsName).Upsert(batch.Runs.Select(r => new BsonDocument { ["_id"] = r.Run, ["json"] = r.Json }));
            }

            _database.Commit();
        }
        catch (Exception e) when (e is not (IOException or UnauthorizedAccessException))
        {
            // LiteDB meets a torn page with whatever exception comes first.
            throw new InvalidDataException("The index is damaged.", e);
        }
        catch
        {
            _database.Rollback();
            throw;
        }
    }

    private static T Reading<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (
            e is not (IOException or UnauthorizedAccessException or OutOfMemoryException) || e is InvalidDataException)
        {
            throw new InvalidDataException("The index is damaged.", e);
        }
    }

    /// <summary>Copies a consistent snapshot to a file while the index is in use.</summary>
    public void BackUp(string target)
    {
        _database.Checkpoint();
        using var copy = new LiteDatabase(Connection(target));
        foreach (string name in _database.GetCollectionNames().ToArray())
        {
            copy.GetCollection(name).Insert(_database.GetCollection(name).FindAll());
        }

        copy.UserVersion = _database.UserVersion;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        try
        {
            _database.Dispose();
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // A damaged or full file cannot be closed in order; it is put aside or continued at the next start.
        }

        _lock.Dispose();
    }

    private static FileStream Lock(string folder)
    {
        try
        {
            return new FileStream(Path.Combine(folder, "index.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e) when (e is not DirectoryNotFoundException)
        {
            throw new UserErrorException(
                $"Another dashboard has the index in {folder} open: stop it, or give this one its own folder with --data.",
                ExitCodes.BadConfiguration,
                e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new UserErrorException(
                $"The folder {folder} cannot be written: give one that can with --data.", ExitCodes.BadConfiguration, e);
        }
    }

    private static int ReadSchema(string path)
    {
        // Looked at through a copy-free read-only handle, so that a file of a newer version stays byte for byte what it was.
        using var database = new LiteDatabase(new ConnectionString { Filename = path, ReadOnly = true, Collation = Collation.Binary });
        return database.UserVersion;
    }

    private static void Check(LiteDatabase database)
    {
        foreach (BsonDocument document in database.GetCollection(RunsName).FindAll())
        {
            if (!document["json"].IsString || !document["_id"].IsString)
            {
                throw new InvalidDataException("A run's document is damaged.");
            }
        }
    }

    private static LiteDatabase OpenFile(string path) => new(Connection(path));

    private static ConnectionString Connection(string path) =>
        new() { Filename = path, Connection = ConnectionType.Direct, Collation = Collation.Binary };

    private static string PutAside(string path, string why)
    {
        string aside = $"{path}.{why}-{DateTime.UtcNow.ToString("yyyyMMdd-HHmmssfff", CultureInfo.InvariantCulture)}";
        File.Move(path, aside);
        string log = LogOf(path);
        if (File.Exists(log))
        {
            File.Move(log, LogOf(aside));
        }

        return aside;
    }

    private static string LogOf(string path) =>
        Path.Combine(Path.GetDirectoryName(path)!, Path.GetFileNameWithoutExtension(path) + "-log" + Path.GetExtension(path));
}

/// <summary>Keys of chunks: run, list and chunk in one number, so that a run's chunks lie together.</summary>
internal static class Keys
{
    private const int ChunkBits = 20;
    private const int ListBits = 21;

    /// <summary>The key.</summary>
    public static long Of(int run, int list, int chunk) => ((long)run << (ChunkBits + ListBits)) | ((long)list << ChunkBits) | (uint)chunk;
}
