// Why this exists: tests count what a client did: how many writes an object cost, whether anything is written at rest.
using System.Collections.Concurrent;

namespace CoCLR.TrialCluster;

/// <summary>One request as the server saw it.</summary>
/// <param name="Time">When it came.</param>
/// <param name="Method">HTTP method.</param>
/// <param name="Path">Path without query.</param>
/// <param name="Query">Query string.</param>
/// <param name="Verb">Kubernetes verb, such as `list` or `watch`.</param>
/// <param name="Resource">`plural.group` with `/subresource`, or empty.</param>
/// <param name="Namespace">Namespace, or empty.</param>
/// <param name="Name">Object name, or empty.</param>
/// <param name="User">Who asked.</param>
/// <param name="UserAgent">User-Agent header.</param>
/// <param name="Status">Status code answered; 0 where the connection was cut.</param>
public sealed record LoggedRequest(
    DateTimeOffset Time,
    string Method,
    string Path,
    string Query,
    string Verb,
    string Resource,
    string Namespace,
    string Name,
    string User,
    string UserAgent,
    int Status)
{
    /// <summary>Whether it asked to change something.</summary>
    public bool IsWrite => Verb is "create" or "update" or "patch" or "delete" or "deletecollection";
}

/// <summary>All requests since the start or the last <see cref="Clear"/>.</summary>
public sealed class RequestLog
{
    private ConcurrentQueue<LoggedRequest> _requests = new();

    /// <summary>The requests in the order they were answered.</summary>
    public IReadOnlyList<LoggedRequest> All => [.. _requests];

    /// <summary>Requests that asked to change something, access reviews left out.</summary>
    public IReadOnlyList<LoggedRequest> Writes =>
        [.. _requests.Where(r => r.IsWrite && !r.Resource.Contains("reviews", StringComparison.Ordinal))];

    /// <summary>How many writes each object cost: key `resource/namespace/name`.</summary>
    public IReadOnlyDictionary<string, int> WritesByObject =>
        Writes.GroupBy(r => $"{r.Resource}/{r.Namespace}/{r.Name}").ToDictionary(g => g.Key, g => g.Count());

    /// <summary>Forgets what was so far.</summary>
    public void Clear() => _requests = new ConcurrentQueue<LoggedRequest>();

    internal void Add(LoggedRequest request) => _requests.Enqueue(request);
}
