// Why this exists: a watch as clients see it: JSON lines, selectors that make objects come and go, bookmarks, expiry, and everything that
// can break in it.
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Streams the changes of a kind.</summary>
public sealed class WatchResponse(InProcessCluster cluster)
{
    /// <summary>Runs until the client goes, the time is up or a fault ends it.</summary>
    public async Task RunAsync(
        HttpContext http, ResourceDefinition kind, string ns, string name, FaultTarget target, CancellationToken stop)
    {
        var query = http.Request.Query;
        var fields = query["fieldSelector"].ToString();
        if (name.Length > 0)
        {
            fields = $"metadata.name={name}" + (fields.Length > 0 ? "," + fields : "");
        }

        var selector = Selector.Parse(query["labelSelector"], fields, kind);
        var version = query["resourceVersion"].ToString();
        var bookmarks = query["allowWatchBookmarks"].ToString() is "true" or "1";
        var initial = query["sendInitialEvents"].ToString();
        if (initial.Length > 0 && query["resourceVersionMatch"] != "NotOlderThan")
        {
            throw ApiException.Invalid(
                "meta.k8s.io",
                "ListOptions",
                "",
                [
                    FieldError.Forbidden(
                        "resourceVersionMatch", "resourceVersionMatch must be \"NotOlderThan\" when sendInitialEvents is provided")]);
        }

        if (!string.IsNullOrEmpty(version) && !long.TryParse(version, CultureInfo.InvariantCulture, out _))
        {
            throw ApiException.BadVersion(version);
        }

        var seconds = double.TryParse(query["timeoutSeconds"], CultureInfo.InvariantCulture, out var t)
            && t > 0 ? t : cluster.Options.WatchTimeout.TotalSeconds;
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(seconds));
        using var until = CancellationTokenSource.CreateLinkedTokenSource(stop, deadline.Token);
        var table = Tables.Wanted(http.Request);
        var snapshot = initial is "true" or "1" || (string.IsNullOrEmpty(initial) && (string.IsNullOrEmpty(version) || version == "0"));
        http.Response.StatusCode = 200;
        http.Response.ContentType = "application/json;stream=watch";
        http.Response.Headers.CacheControl = "no-cache, private";
        await http.Response.StartAsync(stop);
        ObjectStore.Watcher watcher;
        try
        {
            long? after = snapshot ? null : initial is "false" or "0"
                && string.IsNullOrEmpty(version) ? cluster.Store.Revision : long.Parse(version, CultureInfo.InvariantCulture);
            watcher = cluster.Store.Watch(ResourceService.StorageKey(kind), after, snapshot);
        }
        catch (ApiException e)
        {
            await SendAsync(http, "ERROR", e.ToStatus(), stop);
            return;
        }

        using var watching = watcher;
        var position = watcher.Revision;
        try
        {
            foreach (var stored in watcher.Initial)
            {
                var value = ResourceService.InVersion(stored, kind);
                if ((ns.Length == 0 || stored.Namespace == ns) && selector.Matches(value))
                {
                    await SendAsync(http, "ADDED", Form(kind, value, table, cluster), until.Token);
                }
            }

            if (initial is "true" or "1" && bookmarks)
            {
                await SendAsync(http, "BOOKMARK", Bookmark(kind, position, true), until.Token);
            }

            await http.Response.Body.FlushAsync(until.Token);
            while (true)
            {
                var wait = watcher.Events.WaitToReadAsync(until.Token).AsTask();
                var turn = cluster.Options.BookmarkInterval;
                while (true)
                {
                    if (cluster.Faults.Take(target with { Event = [] }, k => k is FaultKind.WatchGone or FaultKind.WatchSilent or FaultKind.WatchClose) is { } strike)
                    {
                        if (strike.Kind == FaultKind.WatchGone)
                        {
                            await SendAsync(http, "ERROR", ApiException.Expired("too old resource version: 1 (2)").ToStatus(), stop);
                            await http.Response.Body.FlushAsync(stop);
                            return;
                        }

                        if (strike.Kind == FaultKind.WatchClose)
                        {
                            return;
                        }

                        await Task.Delay(Timeout.Infinite, stop);
                    }

                    if (wait.IsCompleted)
                    {
                        break;
                    }

                    // Short turns so that a fault strikes soon; bookmarks come at their own pace.
                    var step = TimeSpan.FromMilliseconds(100);
                    await Task.WhenAny(wait, Task.Delay(step, until.Token));
                    until.Token.ThrowIfCancellationRequested();
                    if (!cluster.Faults.WhenReachable.IsCompleted)
                    {
                        await cluster.Faults.WhenReachable.WaitAsync(stop);
                    }

                    turn -= step;
                    if (turn <= TimeSpan.Zero && bookmarks && !wait.IsCompleted)
                    {
                        turn = cluster.Options.BookmarkInterval;
                        await SendAsync(
                            http,
                            "BOOKMARK",
                            Bookmark(kind, Math.Max(position, watcher.Events.Count == 0 ? cluster.Store.Revision : position), false),
                            until.Token);
                        await http.Response.Body.FlushAsync(until.Token);
                    }
                }

                if (!await wait)
                {
                    return;
                }

                while (watcher.Events.TryRead(out var e))
                {
                    position = e.Revision;
                    var (type, o) = Project(kind, ns, selector, e);
                    if (type is null)
                    {
                        continue;
                    }

                    await cluster.Faults.WhenReachable.WaitAsync(stop);
                    var asked = target with { Event = o };
                    if (cluster.Faults.Take(asked, k => k is FaultKind.WatchHalfLine or FaultKind.WatchGarbage) is { } fault)
                    {
                        var line = Line(type, Form(kind, o, table, cluster));
                        if (fault.Kind == FaultKind.WatchHalfLine)
                        {
                            await http.Response.Body.WriteAsync(line.AsMemory(0, line.Length / 2), stop);
                            await http.Response.Body.FlushAsync(stop);

                            // A reset throws away what the client has not read yet: let it read the half line first.
                            await Task.Delay(100, stop);
                            http.Abort();
                            return;
                        }

                        var bad = o.Copy();
                        bad["spec"] = "this is no spec";
                        bad["metadata"]!.AsObject()["labels"] = new JsonArray(1, 2);
                        await http.Response.Body.WriteAsync(Line(type, bad), stop);
                        continue;
                    }

                    await SendAsync(http, type, Form(kind, o, table, cluster), until.Token);
                }

                await http.Response.Body.FlushAsync(until.Token);
            }
        }
        catch (OperationCanceledException) when (deadline.IsCancellationRequested && !stop.IsCancellationRequested)
        {
            // Time is up: a clean end of the stream.
        }
    }

    private static (string? Type, JsonObject Object) Project(ResourceDefinition kind, string ns, Selector selector, StoreEvent e)
    {
        var stored = e.After;
        if (ns.Length > 0 && stored.Namespace != ns)
        {
            return (null, []);
        }

        var after = ResourceService.InVersion(stored, kind);
        var before = e.Before is null ? null : ResourceService.InVersion(e.Before, kind);
        var matched = before is not null && selector.Matches(before);
        var matches = !e.Deleted && selector.Matches(after);
        return (matched, matches) switch
        {
            (false, true) => ("ADDED", after),
            (true, true) => ("MODIFIED", after),
            (true, false) => ("DELETED", after),
            _ => (null, []),
        };
    }

    private static JsonObject Form(ResourceDefinition kind, JsonObject o, string? table, InProcessCluster cluster) =>
        table is null ? o : Tables.Of(kind, o, table, cluster.Clock.GetUtcNow());

    private static JsonObject Bookmark(ResourceDefinition kind, long revision, bool initialEnd)
    {
        var metadata =
            new JsonObject { ["resourceVersion"] = revision.ToString(CultureInfo.InvariantCulture), ["creationTimestamp"] = null };
        if (initialEnd)
        {
            metadata["annotations"] = new JsonObject { ["k8s.io/initial-events-end"] = "true" };
        }

        return new JsonObject { ["kind"] = kind.Kind, ["apiVersion"] = kind.ApiVersion, ["metadata"] = metadata };
    }

    private static byte[] Line(string type, JsonObject o) =>
        Encoding.UTF8.GetBytes($"{{\"type\":\"{type}\",\"object\":{o.ToJsonString(Json.Options)}}}\n");

    private static Task SendAsync(HttpContext http, string type, JsonObject o, CancellationToken stop) =>
        http.Response.Body.WriteAsync(Line(type, o), stop).AsTask();
}
