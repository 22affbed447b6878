// Why this exists: what a test may choose about its cluster.
namespace CoCLR.TrialCluster;

/// <summary>Options of <see cref="InProcessCluster"/>.</summary>
public sealed class InProcessClusterOptions
{
    /// <summary>Port on loopback; 0 takes a free one.</summary>
    public int Port { get; init; }

    /// <summary>Where the kubeconfig of the administrator is written; null: into <see cref="Folder"/>.</summary>
    public string? KubeconfigPath { get; init; }

    /// <summary>Where everything is kept (pods' folders, claims, logs); null: a new temporary folder, removed at the end.</summary>
    public string? Folder { get; init; }

    /// <summary>The clock of the API server and its controllers.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Time between two bookmarks of a quiet watch. A real server sends one a minute.</summary>
    public TimeSpan BookmarkInterval { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long a watch lives that names no timeout.</summary>
    public TimeSpan WatchTimeout { get; init; } = TimeSpan.FromMinutes(40);

    /// <summary>
    /// Whether Jobs, Deployments, claims and pods are played by controllers; garbage collection and namespaces always are.
    /// </summary>
    public bool RunControllers { get; init; } = true;

    /// <summary>
    /// Whether pods are really run as processes; without it they stay scheduled and wait for the test to set their status.
    /// </summary>
    public bool RunPods { get; init; } = true;

    /// <summary>The nodes; empty: no pod can be scheduled.</summary>
    public IReadOnlyList<TrialNode> Nodes { get; init; } = [new TrialNode("node-1")];

    /// <summary>Which program stands for which image; the first match runs. No match: the image cannot be pulled.</summary>
    public IList<ImageProgram> Images { get; init; } = [];

    /// <summary>Namespaces made at the start beside `default` and `kube-system`.</summary>
    public IReadOnlyList<string> Namespaces { get; init; } = [];

    /// <summary>Storage classes; the first is the default one.</summary>
    public IReadOnlyList<string> StorageClasses { get; init; } = ["standard"];

    /// <summary>First pause before a Job replaces a failed pod; doubles with each failure. A real cluster waits 10 seconds.</summary>
    public TimeSpan JobBackoff { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>First pause before a crashing container is started again; doubles each time. A real kubelet waits 10 seconds.</summary>
    public TimeSpan CrashBackoff { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Longest time between two probes, so that tests need not wait for 10-second periods.</summary>
    public TimeSpan ProbePeriod { get; init; } = TimeSpan.FromSeconds(0.5);

    /// <summary>Silence of a kubelet after which its node is taken for lost; 50 seconds in a real cluster.</summary>
    public TimeSpan NodeMonitorGracePeriod { get; init; } = TimeSpan.FromSeconds(50);

    /// <summary>Seconds that pods stay on a lost node when they say nothing else; 300 in a real cluster.</summary>
    public int DefaultTolerationSeconds { get; init; } = 300;

    /// <summary>Writes kept for watches of each kind.</summary>
    public int HistoryLimit { get; init; } = 20_000;

    /// <summary>Where the cluster reports its own mishaps.</summary>
    public Action<string>? Output { get; init; }
}

/// <summary>A node of the cluster.</summary>
/// <param name="Name">Name.</param>
/// <param name="Cpu">Cores.</param>
/// <param name="Memory">Memory as a quantity.</param>
/// <param name="Gpus">How many of <paramref name="GpuResource"/>.</param>
/// <param name="GpuResource">Name of the extended resource.</param>
/// <param name="Labels">Labels.</param>
/// <param name="Taints">Taints as `key=value:Effect`.</param>
public sealed record TrialNode(
    string Name,
    int Cpu = 64,
    string Memory = "256Gi",
    int Gpus = 8,
    string GpuResource = "nvidia.com/gpu",
    IReadOnlyDictionary<string, string>? Labels = null,
    IReadOnlyList<string>? Taints = null);

/// <summary>The program that stands for an image.</summary>
/// <param name="Pattern">The image, with `*` for any text.</param>
/// <param name="EntryPoint">Command line of the image's ENTRYPOINT, used where the container names no command.</param>
/// <param name="Commands">Replaces the first word of a container's command: `coclr` becomes, say, `dotnet`, `.../coclr.dll`.</param>
/// <param name="Environment">Variables of the image.</param>
public sealed record ImageProgram(
    string Pattern,
    IReadOnlyList<string> EntryPoint,
    IReadOnlyDictionary<string, IReadOnlyList<string>>? Commands = null,
    IReadOnlyDictionary<string, string>? Environment = null)
{
    /// <summary>A program that is the entry point of an image and also what `coclr` means in it.</summary>
    public static ImageProgram For(string pattern, IReadOnlyList<string> command) =>
        new(pattern, command, new Dictionary<string, IReadOnlyList<string>> { ["coclr"] = command, ["/app/coclr"] = command });
}
