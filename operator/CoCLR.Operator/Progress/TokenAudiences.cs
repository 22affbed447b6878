// Why this exists: a token that a pod is given is good for one purpose; who makes tokens and who checks them agree here.
namespace CoCLR.Operator.Progress;

/// <summary>What the tokens of pods are meant for.</summary>
public static class TokenAudiences
{
    /// <summary>Audience of the token with which a pod sends events to the dashboard.</summary>
    public const string Dashboard = "coclr-dashboard";

    /// <summary>Audience of the token with which a pod of an experiment pushes progress.</summary>
    /// <param name="uid">Unique id of the experiment.</param>
    public static string Progress(string uid) => $"coclr.dev/experiment/{uid}";
}
