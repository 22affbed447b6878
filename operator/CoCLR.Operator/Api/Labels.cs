// Why this exists: label keys and names of children, in one place; selectors and people's scripts depend on them.
using System.Security.Cryptography;
using System.Text;

namespace CoCLR.Operator.Api;

/// <summary>Label and annotation keys.</summary>
public static class Labels
{
    /// <summary>Name of the experiment.</summary>
    public const string Experiment = "coclr.dev/experiment";

    /// <summary>Unique id of the experiment.</summary>
    public const string ExperimentUid = "coclr.dev/experiment-uid";

    /// <summary>Stage.</summary>
    public const string Stage = "coclr.dev/stage";

    /// <summary>Id of the run.</summary>
    public const string Run = "coclr.dev/run";

    /// <summary>Suite that an experiment belongs to.</summary>
    public const string Benchmark = "coclr.dev/benchmark";

    /// <summary>Unique id of the suite.</summary>
    public const string BenchmarkUid = "coclr.dev/benchmark-uid";

    /// <summary>Annotation: values of the axes of an experiment of a suite.</summary>
    public const string Cell = "coclr.dev/cell";

    /// <summary>Annotation: a new value starts a failed experiment again.</summary>
    public const string Retry = "coclr.dev/retry";

    /// <summary>Annotation of a Job: a hash of the resources that its pods ask for.</summary>
    public const string Resources = "coclr.dev/resources";

    /// <summary>Kueue's queue.</summary>
    public const string Queue = "kueue.x-k8s.io/queue-name";

    /// <summary>Kueue's priority class.</summary>
    public const string QueuePriority = "kueue.x-k8s.io/priority-class";

    /// <summary>Value of app.kubernetes.io/managed-by.</summary>
    public const string Manager = "coclr-operator";

    /// <summary>The controller that this operator is, in spec.managedBy.</summary>
    public const string Controller = "coclr.dev/operator";
}

/// <summary>Names of children: deterministic, different for each unique id, at most 63 characters.</summary>
public static class ChildNames
{
    /// <summary>Longest name, so that it may be a label value.</summary>
    public const int Maximum = 63;

    /// <summary>Id of the run of an experiment.</summary>
    /// <param name="name">Name of the experiment.</param>
    /// <param name="uid">Its unique id.</param>
    public static string Run(string name, string uid) => Join(name, null, uid);

    /// <summary>Name of a child.</summary>
    /// <param name="name">Name of the experiment.</param>
    /// <param name="uid">Its unique id.</param>
    /// <param name="suffix">What the child is, such as a stage.</param>
    /// <param name="retry">Value of the retry annotation that it belongs to.</param>
    public static string Child(string name, string uid, string suffix, string? retry = null) =>
        Join(name, suffix, string.IsNullOrEmpty(retry) ? uid : $"{uid}/{retry}");

    /// <summary>A label value of at most 63 characters.</summary>
    /// <param name="text">A DNS name.</param>
    public static string LabelValue(string text) => text.Length <= Maximum ? text : Join(text, null, text);

    private static string Join(string name, string? suffix, string identity)
    {
        string tail = suffix == null ? "" : "-" + suffix;
        string hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{identity}/{name}{tail}")))[..6];
        int room = Maximum - hash.Length - 1 - tail.Length;
        return $"{(name.Length <= room ? name : name[..room].TrimEnd('-', '.'))}{tail}-{hash}";
    }
}
