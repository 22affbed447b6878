// Why this exists: every test has a folder of its own that is gone afterwards.
namespace CoCLR.Dashboard.Tests.Fixtures;

/// <summary>A folder that is deleted at the end.</summary>
public sealed class TemporaryFolder : IDisposable
{
    /// <summary>Its path.</summary>
    public string Path { get; } = Directory.CreateTempSubdirectory("coclr-dashboard-").FullName;

    /// <summary>A path inside.</summary>
    public string this[params string[] parts] => System.IO.Path.Combine([Path, .. parts]);

    /// <inheritdoc/>
    public void Dispose()
    {
        try
        {
            Directory.Delete(Path, recursive: true);
        }
        catch (IOException)
        {
            // A process that was killed may still hold a file for a moment; the system cleans its temporary folder.
        }
    }
}
