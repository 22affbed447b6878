// Why this exists: where runs and shared stores lie on this machine.
using CoCLR.Core.Planning;

namespace CoCLR.Runs;

/// <summary>A folder of runs: <c>WORKDIR/RUN/...</c>, with the stores they share in <c>WORKDIR/cache</c>.</summary>
/// <param name="path">The folder.</param>
public sealed class Workspace(string path)
{
    /// <summary>Name of the folder of the shared stores.</summary>
    public const string CacheName = "cache";

    /// <summary>The folder used when none is given.</summary>
    public static string Default => Environment.GetEnvironmentVariable("COCLR_WORKDIR") is { Length: > 0 } folder ? folder : "coclr-runs";

    /// <summary>The folder, as a full path.</summary>
    public string Root { get; } = Path.GetFullPath(path);

    /// <summary>Stores shared by runs: decoded once, used by all.</summary>
    public string Cache =>
        Environment.GetEnvironmentVariable("COCLR_CACHE_DIR") is { Length: > 0 } folder ? folder : Path.Combine(Root, CacheName);

    /// <summary>Folder of a run.</summary>
    public RunFolder Run(StagePlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        return new(Path.Combine(Root, plan.Run));
    }
}
