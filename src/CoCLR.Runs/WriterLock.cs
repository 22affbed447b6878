// Why this exists: two runs that share a cache must not write the same folder at once; the system drops the lock of a process that dies.
namespace CoCLR.Runs;

/// <summary>The lock of a folder that several runs write.</summary>
public static class WriterLock
{
    private const string Name = ".writer.lock";
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(200);

    /// <summary>The lock of a folder, or null while another process or thread holds it.</summary>
    public static FileStream? TryAcquire(string folder)
    {
        var path = Path.Combine(folder, Name);
        try
        {
            return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException error) when (error is not (FileNotFoundException or DirectoryNotFoundException)
            && File.Exists(path)
            && WholeFile.Explain(error, folder) is null)
        {
            return null;
        }
    }

    /// <summary>The lock of a folder, as soon as it is free.</summary>
    public static FileStream Wait(string folder, CancellationToken cancellationToken)
    {
        while (true)
        {
            if (TryAcquire(folder) is { } held)
            {
                return held;
            }

            cancellationToken.WaitHandle.WaitOne(Pause);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }
}
