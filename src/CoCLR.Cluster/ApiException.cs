// Why this exists: what the API server refuses, with the facts that decide what to do about it.
using System.Net;

namespace CoCLR.Cluster;

/// <summary>The API server refused a request.</summary>
public sealed class ApiException : Exception
{
    /// <summary>Creates the error.</summary>
    /// <param name="code">HTTP status.</param>
    /// <param name="reason">Reason of the Status object, such as AlreadyExists.</param>
    /// <param name="message">The server's words.</param>
    /// <param name="retryAfter">When the server asks to come back.</param>
    public ApiException(HttpStatusCode code, string reason, string message, TimeSpan? retryAfter = null)
        : base($"{(int)code} {reason}: {message}")
    {
        Code = code;
        Reason = reason;
        ServerMessage = message;
        RetryAfter = retryAfter;
    }

    /// <summary>HTTP status.</summary>
    public HttpStatusCode Code { get; }

    /// <summary>Reason of the Status object.</summary>
    public string Reason { get; }

    /// <summary>The server's words.</summary>
    public string ServerMessage { get; }

    /// <summary>When the server asks to come back.</summary>
    public TimeSpan? RetryAfter { get; }

    /// <summary>
    /// The object has changed, or another one has its name; a patch that names the old one's unique id is invalid, not in conflict.
    /// </summary>
    public bool IsConflict => Code == HttpStatusCode.Conflict
        || (Code == HttpStatusCode.UnprocessableEntity && ServerMessage.Contains("metadata.uid: Invalid value", StringComparison.Ordinal));

    /// <summary>A server-side apply with a field that the installed CRD does not have.</summary>
    public bool IsUnknownField =>
        Code == HttpStatusCode.InternalServerError && ServerMessage.Contains("field not declared in schema", StringComparison.Ordinal);

    /// <summary>The server does not take this write, and a person must know: a quota, an admission policy, a rule of the kind, a missing
    /// right, a webhook that fails.
    /// Neither a conflict, nor a server that is busy, nor a namespace that is going away.</summary>
    public bool IsRefusal => !IsConflict && !IsNamespaceTerminating && ((int)Code >= 500
        ? ServerMessage.Contains("webhook", StringComparison.Ordinal)
        : Code is not (HttpStatusCode.Unauthorized or HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests));

    /// <summary>The namespace is going away: nothing can be made there any more.</summary>
    public bool IsNamespaceTerminating =>
        Code == HttpStatusCode.Forbidden && ServerMessage.Contains("being terminated", StringComparison.Ordinal);
}
