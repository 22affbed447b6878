// Why this exists: the subresources beside status: scale, logs, eviction, binding, token requests and the end of a namespace.
using System.Globalization;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Serves subresources.</summary>
public sealed class Subresources(InProcessCluster cluster)
{
    private readonly ResourceService _service = cluster.Resources;

    /// <summary>Serves the request if the subresource is one of these.</summary>
    public async Task<bool> TryServeAsync(
        HttpContext http, ResourceDefinition kind, string ns, string name, string sub, string verb, UserInfo user, CancellationToken stop)
    {
        switch (kind.Plural, sub)
        {
            case (_, "scale") when kind.Scale is not null:
                await ScaleAsync(http, kind, ns, name, verb, user, stop);
                return true;
            case ("pods", "log") when verb == "get":
                await LogAsync(http, kind, ns, name, stop);
                return true;
            case ("pods", "eviction") when verb == "create":
                await EvictAsync(http, kind, ns, name, user, stop);
                return true;
            case ("pods", "binding") when verb == "create":
                var binding = await ApiServer.ReadObjectAsync(http, [], stop);
                Bind(kind, ns, name, binding.Text("target", "name") ?? "");
                await ApiServer.AnswerAsync(http, Success(), 201);
                return true;
            case ("serviceaccounts", "token") when verb == "create":
                await TokenAsync(http, ns, name, stop);
                return true;
            case ("namespaces", "finalize") when verb == "update":
                var body = await ApiServer.ReadObjectAsync(http, [], stop);
                await ApiServer.AnswerAsync(http, body, 200);
                return true;
            default:
                return false;
        }
    }

    private static JsonObject Success() =>
        new() { ["kind"] = "Status", ["apiVersion"] = "v1", ["metadata"] = new JsonObject(), ["status"] = "Success", ["code"] = 201 };

    private void Bind(ResourceDefinition kind, string ns, string name, string node)
    {
        var pod = _service.Get(kind, ns, name).Value.Copy();
        if (pod.Text("spec", "nodeName") is { Length: > 0 } bound)
        {
            throw ApiException.Conflict("", "pods/binding", name, $"pod {name} is already assigned to node \"{bound}\"");
        }

        cluster.Controllers.Assign(ns, name, node);
    }

    private async Task ScaleAsync(
        HttpContext http, ResourceDefinition kind, string ns, string name, string verb, UserInfo user, CancellationToken stop)
    {
        var stored = _service.Get(kind, ns, name);
        if (verb is "update" or "patch")
        {
            var body = await ApiServer.ReadObjectAsyncAny(http, stop);
            var scale = verb == "patch" ? (JsonObject)Patches.MergePatch(Scale(kind, stored.Value), body)! : body;
            var replicas = scale.Number("spec", "replicas") ?? 0;
            if (replicas < 0)
            {
                throw ApiException.Invalid(
                    "autoscaling", "Scale", name, [FieldError.Invalid("spec.replicas", replicas, "must be greater than or equal to 0")]);
            }

            var next = ResourceService.InVersion(stored, kind).Copy();
            next.Ensure(kind.Scale!.SpecReplicas.AsSpan(0, kind.Scale.SpecReplicas.Length - 1))[kind.Scale.SpecReplicas[^1]] = replicas;
            if (scale.Text("metadata", "resourceVersion") is { } rv)
            {
                next.Ensure("metadata")["resourceVersion"] = rv;
            }

            var updated = _service.Update(kind, ns, name, next, new WriteContext { User = user, Manager = "scale" });
            await ApiServer.AnswerAsync(http, Scale(kind, updated), 200);
            return;
        }

        await ApiServer.AnswerAsync(http, Scale(kind, ResourceService.InVersion(stored, kind)), 200);
    }

    private static JsonObject Scale(ResourceDefinition kind, JsonObject o)
    {
        var selector = kind.Scale!.Selector is { } path ? o.At(path) : null;
        var text =
            selector is JsonValue v ? v.Text() : string.Join(",", (selector.Map("matchLabels") ?? []).Select(p => $"{p.Key}={p.Value}"));
        return new JsonObject
        {
            ["kind"] = "Scale",
            ["apiVersion"] = "autoscaling/v1",
            ["metadata"] = new JsonObject
            {
                ["name"] = o.Text("metadata", "name"), ["namespace"] = o.Text("metadata", "namespace"), ["uid"] = o.Text("metadata", "uid"),
                ["resourceVersion"] =
                    o.Text("metadata", "resourceVersion"), ["creationTimestamp"] = o.Text("metadata", "creationTimestamp"),
            },
            ["spec"] = new JsonObject { ["replicas"] = o.Number(kind.Scale.SpecReplicas) ?? 0 },
            ["status"] = new JsonObject { ["replicas"] = o.Number(kind.Scale.StatusReplicas) ?? 0, ["selector"] = text },
        };
    }

    private async Task TokenAsync(HttpContext http, string ns, string name, CancellationToken stop)
    {
        var body = await ApiServer.ReadObjectAsync(http, [], stop);
        var seconds = body.Number("spec", "expirationSeconds") ?? 3600;
        if (seconds < 600)
        {
            throw ApiException.Invalid(
                "authentication.k8s.io",
                "TokenRequest",
                "",
                [FieldError.Invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")]);
        }

        var (token, expires) = cluster.Tokens.Issue(ns, name, [.. body.Items("spec", "audiences").Select(a => a!.GetValue<string>())], TimeSpan.FromSeconds(seconds),
            body.Text("spec", "boundObjectRef", "name"), body.Text("spec", "boundObjectRef", "uid"));
        body["status"] = new JsonObject { ["token"] = token, ["expirationTimestamp"] = Json.Time(expires) };
        await ApiServer.AnswerAsync(http, body, 201);
    }

    private async Task EvictAsync(HttpContext http, ResourceDefinition kind, string ns, string name, UserInfo user, CancellationToken stop)
    {
        var body = await ApiServer.ReadObjectAsync(http, [], stop);
        var pod = _service.Get(kind, ns, name);
        foreach (var budget in cluster.Store.All(new ResourceKey("policy", "poddisruptionbudgets")))
        {
            if (budget.Namespace == ns && Selector.Matches(budget.Value.At("spec", "selector"), pod.Value.At("metadata", "labels")) && (budget.Value.Number("status", "disruptionsAllowed") ?? 0) <= 0
                && pod.Value.Text("status", "phase") is not ("Succeeded" or "Failed"))
            {
                throw new ApiException(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.",
                    new JsonObject { ["causes"] = new JsonArray(new JsonObject { ["reason"] = "DisruptionBudget", ["message"] = $"The disruption budget {budget.Name} needs more healthy pods" }) });
            }
        }

        // The reason of the disruption must be on the pod before it ends: a Job's failure policy looks at it.
        cluster.Controllers.MarkDisrupted(ns, name, "EvictionByEvictionAPI", "Eviction API: evicting");
        _service.Delete(
            kind, ns, name, new DeleteRequest(body.Number("deleteOptions", "gracePeriodSeconds")), new WriteContext { User = user });
        await ApiServer.AnswerAsync(http, Success(), 201);
    }

    private async Task LogAsync(HttpContext http, ResourceDefinition kind, string ns, string name, CancellationToken stop)
    {
        var query = http.Request.Query;
        var pod = _service.Get(kind, ns, name).Value;
        var containers = pod.Items("spec", "containers").Select(c => c.Text("name")!).ToList();
        var container = query["container"].ToString();
        if (container.Length == 0)
        {
            container = containers.Count == 1
                ? containers[0]
                : throw ApiException.BadRequest(
                    $"a container name must be specified for pod {name}, choose one of: [{string.Join(' ', containers)}]");
        }
        else if (!containers.Contains(container))
        {
            throw ApiException.BadRequest($"container {container} is not valid for pod {name}");
        }

        var previous = query["previous"].ToString() is "true" or "1";
        var state = pod.Items("status", "containerStatuses").FirstOrDefault(c => c.Text("name") == container);
        var file = cluster.Kubelet?.LogFile(pod.Text("metadata", "uid") ?? "", container, previous);
        if (file is null || !File.Exists(file))
        {
            if (previous)
            {
                throw ApiException.BadRequest($"previous terminated container \"{container}\" in pod \"{name}\" not found");
            }

            var why = state.Text("state", "waiting", "reason") ?? "ContainerCreating";
            throw ApiException.BadRequest($"container \"{container}\" in pod \"{name}\" is waiting to start: {why}");
        }

        http.Response.StatusCode = 200;
        http.Response.ContentType = "text/plain";
        var follow = query["follow"].ToString() is "true" or "1";
        long? tail = long.TryParse(query["tailLines"], CultureInfo.InvariantCulture, out var t) ? t : null;
        long? limit = long.TryParse(query["limitBytes"], CultureInfo.InvariantCulture, out var b) ? b : null;
        await using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        if (tail is { } lines)
        {
            using var all = new MemoryStream();
            await stream.CopyToAsync(all, stop);
            var bytes = all.ToArray();
            var start = bytes.Length;
            var seen = 0L;
            for (var i = bytes.Length - 1; i >= 0; i--)
            {
                if (bytes[i] == (byte)'\n' && i != bytes.Length - 1 && ++seen == lines)
                {
                    break;
                }

                start = i;
            }

            await http.Response.Body.WriteAsync(bytes.AsMemory(lines == 0 ? bytes.Length : start), stop);
        }

        var buffer = new byte[16 * 1024];
        var sent = 0L;
        while (true)
        {
            // Whether the container still runs is asked before reading, so that nothing it wrote last is lost.
            var running = follow && cluster.Kubelet!.IsRunning(pod.Text("metadata", "uid") ?? "", container);
            int read;
            while ((read = await stream.ReadAsync(buffer, stop)) > 0)
            {
                var take = limit is { } max ? (int)Math.Min(read, max - sent) : read;
                await http.Response.Body.WriteAsync(buffer.AsMemory(0, take), stop);
                sent += take;
                if (sent >= limit)
                {
                    return;
                }
            }

            if (!running)
            {
                return;
            }

            await http.Response.Body.FlushAsync(stop);
            await Task.Delay(100, stop);
        }
    }
}
