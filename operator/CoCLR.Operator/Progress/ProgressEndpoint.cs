// Why this exists: pods push progress here, so that `kubectl get` shows it without a dashboard. Everything that arrives is bounded and
// belongs to the pod's own experiment.
using System.Globalization;
using System.Text;
using CoCLR.Cluster;
using CoCLR.Core.Manifests;
using CoCLR.Operator.Api;
using CoCLR.Operator.Runtime;

namespace CoCLR.Operator.Progress;

/// <summary>Receives progress.</summary>
public sealed class ProgressEndpoint
{
    /// <summary>Route of the endpoint.</summary>
    public const string Route = "/apis/" + ApiNames.Group + "/" + ApiNames.Version + "/namespaces/{ns}/experiments/{name}/status";

    private const int Remembered = 8192;
    private readonly Func<ObjectKey, ObjectMeta?> _experiment;
    private readonly Func<ObjectKey, PodView?> _pod;
    private readonly TokenReviewer _reviewer;
    private readonly ProgressStore _store;
    private readonly Action<ObjectKey> _told;
    private readonly Func<bool> _leads;
    private readonly TimeProvider _time;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, (double Tokens, long At)> _budgets = [];

    /// <summary>Creates the endpoint.</summary>
    /// <param name="experiment">Finds an experiment.</param>
    /// <param name="pod">Finds a pod.</param>
    /// <param name="reviewer">Checks tokens.</param>
    /// <param name="store">Keeps reports.</param>
    /// <param name="told">Called when an experiment has news.</param>
    /// <param name="leads">Whether this process leads; others refer to the leader.</param>
    /// <param name="time">Clock.</param>
    public ProgressEndpoint(
        Func<ObjectKey,
        ObjectMeta?> experiment,
        Func<ObjectKey,
        PodView?> pod,
        TokenReviewer reviewer,
        ProgressStore store,
        Action<ObjectKey> told,
        Func<bool> leads,
        TimeProvider time)
    {
        _experiment = experiment;
        _pod = pod;
        _reviewer = reviewer;
        _store = store;
        _told = told;
        _leads = leads;
        _time = time;
    }

    /// <summary>Address for an experiment.</summary>
    /// <param name="root">Address of the operator.</param>
    /// <param name="key">Name of the experiment.</param>
    public static string UrlOf(string root, ObjectKey key) => root.TrimEnd('/')
        + Route.Replace("{ns}", key.Namespace, StringComparison.Ordinal).Replace("{name}", key.Name, StringComparison.Ordinal);

    /// <summary>Handles a push.</summary>
    /// <param name="context">The request.</param>
    /// <param name="ns">Namespace.</param>
    /// <param name="name">Experiment.</param>
    public async Task<IResult> HandleAsync(HttpContext context, string ns, string name)
    {
        (IResult result, string outcome) = await PushAsync(context, new ObjectKey(ns, name)).ConfigureAwait(false);
        OperatorMetrics.ProgressPushes.Add(1, new KeyValuePair<string, object?>("result", outcome));
        return result;
    }

    private async Task<(IResult Result, string Outcome)> PushAsync(HttpContext context, ObjectKey key)
    {
        string header = context.Request.Headers.Authorization.ToString();
        if (!header.StartsWith("Bearer ", StringComparison.Ordinal) || header.Length is < 20 or > 16 * 1024
            || header.AsSpan(7).ContainsAny(" ,\t"))
        {
            return (Problem(401, "send the token of this pod: Authorization: Bearer ..."), "unauthenticated");
        }

        if (!_leads())
        {
            // The connection is closed so that the next try may reach the leader.
            context.Response.Headers.RetryAfter = "2";
            context.Response.Headers.Connection = "close";
            return (Problem(503, "this replica does not lead; try again"), "not_leader");
        }

        if (context.Request.ContentLength > StageReport.MaximumBytes)
        {
            return (Problem(413, $"a report has at most {StageReport.MaximumBytes} bytes"), "too_large");
        }

        using var limit = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        limit.CancelAfter(TimeSpan.FromSeconds(10));

        // An unknown experiment and a wrong token look the same from outside.
        ObjectMeta? experiment = _experiment(key);
        PodIdentity? identity = experiment == null
            ? null
            : await _reviewer.ReviewAsync(header[7..], TokenAudiences.Progress(experiment.Uid), limit.Token).ConfigureAwait(false);
        if (experiment == null || identity == null || identity.Namespace != key.Namespace)
        {
            return (Problem(401, "the token is not valid for this experiment"), "unauthenticated");
        }

        PodView? pod = _pod(new ObjectKey(identity.Namespace, identity.PodName));
        string? stage = pod?.Meta.Label(Labels.Stage);
        if (pod == null || stage == null || pod.Meta.Uid != identity.PodUid || pod.Meta.Label(Labels.ExperimentUid) != experiment.Uid)
        {
            return (Problem(403, "the pod does not belong to this experiment"), "forbidden");
        }

        if (!Admit(identity.PodUid))
        {
            context.Response.Headers.RetryAfter = "5";
            return (Problem(429, "too many reports; one in ten seconds is enough"), "limited");
        }

        string? body = await ReadAsync(context.Request.Body, limit.Token).ConfigureAwait(false);
        if (body == null)
        {
            return (Problem(413, $"a report has at most {StageReport.MaximumBytes} bytes"), "too_large");
        }

        if (StageReport.Read(body, _time.GetUtcNow()) is not { } report)
        {
            return (Problem(400, "the body is not a JSON object as docs/operator.md describes it"), "bad");
        }

        _store.Put(experiment.Uid, stage, report);
        _told(key);
        return (Results.NoContent(), "ok");
    }

    private static async Task<string?> ReadAsync(Stream body, CancellationToken cancellation)
    {
        byte[] buffer = new byte[StageReport.MaximumBytes + 1];
        int length = await body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellation).ConfigureAwait(false);
        return length > StageReport.MaximumBytes ? null : Encoding.UTF8.GetString(buffer, 0, length);
    }

    // Ten at once, then one a second.
    private bool Admit(string uid)
    {
        lock (_gate)
        {
            (double tokens, long at) = _budgets.GetValueOrDefault(uid, (10, _time.GetTimestamp()));
            tokens = Math.Min(10, tokens + _time.GetElapsedTime(at).TotalSeconds);
            if (tokens < 1)
            {
                return false;
            }

            if (_budgets.Count >= Remembered)
            {
                _budgets.Clear();
            }

            _budgets[uid] = (tokens - 1, _time.GetTimestamp());
            return true;
        }
    }

    private static IResult Problem(int code, string message) =>
        Results.Json(new { code = code.ToString(CultureInfo.InvariantCulture), message }, statusCode: code);
}
