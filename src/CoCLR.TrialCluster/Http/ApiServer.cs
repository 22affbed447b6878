// Why this exists: the HTTP face of the cluster: paths, authentication, authorization, faults and the log around the resource service.
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Answers HTTP requests as kube-apiserver does.</summary>
public sealed class ApiServer(InProcessCluster cluster)
{
    private readonly ResourceService _service = cluster.Resources;
    private readonly Discovery _discovery = new(cluster.Resources.Registry);

    /// <summary>A path of the API taken apart.</summary>
    private sealed record Target(
        ResourceDefinition? Kind, string Group, string Version, string Plural, string Namespace, string Name, string Subresource)
    {
        public string Resource => (Group.Length == 0 ? Plural : $"{Plural}.{Group}") + (Subresource.Length > 0 ? "/" + Subresource : "");
    }

    /// <summary>One request.</summary>
    public async Task HandleAsync(HttpContext http)
    {
        var request = http.Request;
        var path = request.Path.Value ?? "/";
        var agent = request.Headers.UserAgent.ToString();
        UserInfo? user = null;
        Target? target = null;
        var verb = "";
        var cut = false;
        try
        {
            using var linked =
                CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, cluster.Stopping, cluster.Faults.Dropped);
            var stop = linked.Token;
            await cluster.Faults.EnterAsync(stop);
            user = Authenticate(http);
            target = Parse(path);
            verb = target is null ? request.Method.ToLowerInvariant() : Verb(request, target);
            var what = target is null
                ? new AccessAttributes(verb, "", "", "", "", path)
                : new AccessAttributes(
                    verb,
                    target.Group,
                    target.Plural + (target.Subresource.Length > 0 ? "/" + target.Subresource : ""),
                    target.Namespace,
                    target.Name);
            var fault = new FaultTarget(verb, target?.Resource ?? "", target?.Namespace ?? "", target?.Name ?? "", user.Name, agent);
            if (cluster.Faults.Take(fault, k => k is FaultKind.Slow) is { } slow)
            {
                await Task.Delay(slow.Delay, stop);
            }

            if (cluster.Faults.Take(fault, k => k is FaultKind.Status or FaultKind.CutBefore or FaultKind.CutAfter) is { } strike)
            {
                if (strike.Kind == FaultKind.Status)
                {
                    throw new ApiException(
                        strike.Code,
                        strike.Reason,
                        strike.Message,
                        strike.RetryAfter is { } after ? new JsonObject { ["retryAfterSeconds"] = after } : null,
                        strike.RetryAfter);
                }

                cut = true;
                if (strike.Kind == FaultKind.CutBefore)
                {
                    http.Abort();
                    return;
                }
            }

            Authorize(user, what, target);
            if (target is null)
            {
                await _discovery.AnswerAsync(http, path, cluster);
                return;
            }

            if (target.Kind is null)
            {
                throw cluster.Resources.Registry.All.Any(d => !d.IsCustom && d.Group == target.Group && d.Version == target.Version)
                    ? ApiException.NoResourceOfGroup()
                    : ApiException.NoSuchResource();
            }

            if (cut || fault.IsWrite)
            {
                // The answer is kept back until it is known whether it may leave.
                var body = http.Response.Body;
                using var buffer = new MemoryStream();
                http.Response.Body = buffer;
                try
                {
                    await ServeAsync(http, target, verb, user, fault, stop);
                }
                finally
                {
                    http.Response.Body = body;
                }

                if (http.Response.StatusCode < 300 && cluster.Faults.CountWrite(fault))
                {
                    cut = true;
                    cluster.Faults.Cut();
                }

                if (cut)
                {
                    http.Abort();
                    return;
                }

                http.Response.ContentLength = buffer.Length;
                buffer.Position = 0;
                await buffer.CopyToAsync(body, stop);
                return;
            }

            await ServeAsync(http, target, verb, user, fault, stop);
        }
        catch (ApiException e)
        {
            await AnswerAsync(http, e);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or ObjectDisposedException)
        {
            cut = true;
            http.Abort();
        }
        catch (Exception e)
        {
            cluster.Report($"internal error at {request.Method} {path}: {e}");
            await AnswerAsync(http, new ApiException(500, "InternalError", $"Internal error occurred: {e.Message}"));
        }
        finally
        {
            cluster.Log.Add(new LoggedRequest(cluster.Clock.GetUtcNow(), request.Method, path, request.QueryString.Value ?? "", verb, target?.Resource ?? "",
                target?.Namespace ?? "", target?.Name ?? "", user?.Name ?? "", agent, cut ? 0 : http.Response.StatusCode));
        }
    }

    private UserInfo Authenticate(HttpContext http)
    {
        var header = http.Request.Headers.Authorization.ToString();
        if (header.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase))
        {
            var user = cluster.Tokens.Check(header[7..].Trim(), null, out _, out _);
            return user is null
                ? throw new ApiException(401, "Unauthorized", "Unauthorized")
                : user with { Groups = [.. user.Groups.Append("system:authenticated").Distinct()] };
        }

        return new UserInfo("system:anonymous", ["system:unauthenticated"]);
    }

    private void Authorize(UserInfo user, AccessAttributes what, Target? target)
    {
        if (cluster.Authorizer.Allows(user, what))
        {
            return;
        }

        if (target is null)
        {
            throw new ApiException(403, "Forbidden", $"forbidden: User \"{user.Name}\" cannot {what.Verb} path \"{what.Path}\"", []);
        }

        var where = target.Namespace.Length > 0 ? $" in the namespace \"{target.Namespace}\"" : " at the cluster scope";
        throw ApiException.Forbidden(target.Group, target.Plural, target.Name,
            $"User \"{user.Name}\" cannot {what.Verb} resource \"{what.Resource}\" in API group \"{target.Group}\"{where}");
    }

    private Target? Parse(string path)
    {
        var parts = path.Trim('/').Split('/');
        string group;
        string version;
        string[] rest;
        if (parts[0] == "api" && parts.Length > 2)
        {
            (group, version, rest) = ("", parts[1], parts[2..]);
        }
        else if (parts[0] == "apis" && parts.Length > 3)
        {
            (group, version, rest) = (parts[1], parts[2], parts[3..]);
        }
        else
        {
            return null;
        }

        var ns = "";
        if (rest[0] == "namespaces" && rest.Length > 2 && !(group.Length == 0 && rest[2] is "status" or "finalize"))
        {
            ns = rest[1];
            rest = rest[2..];
        }

        var plural = rest[0];
        var kind = _service.Registry.Find(group, version, plural);
        if (kind is not null && kind.Namespaced && ns.Length == 0 && rest.Length > 1)
        {
            kind = null;
        }

        if (kind is { Namespaced: false } && ns.Length > 0)
        {
            kind = null;
        }

        if (plural == "namespaces" && group.Length == 0 && rest.Length > 1)
        {
            ns = "";
        }

        return new Target(
            kind,
            group,
            version,
            plural,
            ns,
            rest.Length > 1 ? Uri.UnescapeDataString(rest[1]) : "",
            rest.Length > 2 ? string.Join('/', rest[2..]) : "");
    }

    private static string Verb(HttpRequest request, Target target)
    {
        var named = target.Name.Length > 0;
        return request.Method switch
        {
            "GET" or "HEAD" when Flag(request, "watch") && target.Subresource.Length == 0 => "watch",
            "GET" or "HEAD" => named ? "get" : "list",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => named ? "delete" : "deletecollection",
            _ => request.Method.ToLowerInvariant(),
        };
    }

    private static bool Flag(HttpRequest request, string name) => request.Query[name].ToString() is "true" or "1";

    private async Task ServeAsync(HttpContext http, Target target, string verb, UserInfo user, FaultTarget fault, CancellationToken stop)
    {
        var kind = target.Kind!;
        if (target.Subresource.Length > 0)
        {
            if (await new Subresources(cluster).TryServeAsync(http, kind, target.Namespace, target.Name, target.Subresource, verb, user, stop))
            {
                return;
            }

            if (!(target.Subresource == "status" && kind.HasStatus))
            {
                throw ApiException.NoSuchResource();
            }
        }

        switch (verb)
        {
            case "get":
                await AnswerAsync(http, kind, _service.Get(kind, target.Namespace, target.Name), 200);
                break;
            case "list":
                await ListAsync(http, kind, target, stop);
                break;
            case "watch":
                await new WatchResponse(cluster).RunAsync(http, kind, target.Namespace, target.Name, fault, stop);
                break;
            case "create":
                RequireNoName(target);
                if (kind.IsReview)
                {
                    await AnswerAsync(
                        http, new Reviews(cluster).Answer(kind, target.Namespace, await ReadObjectAsync(http, [], stop), user), 201);
                    break;
                }

                var (body, context) = await ReadAsync(http, user, "", stop);
                var created = _service.Create(kind, target.Namespace, body, context);
                await AnswerAsync(http, kind, created, 201, context);
                break;
            case "update":
                (body, context) = await ReadAsync(http, user, target.Subresource, stop);
                await AnswerAsync(http, kind, _service.Update(kind, target.Namespace, target.Name, body, context), 200, context);
                break;
            case "patch":
                await PatchAsync(http, kind, target, user, stop);
                break;
            case "delete":
                var options = await ReadDeleteAsync(http, stop);
                var (gone, isGone) =
                    _service.Delete(kind, target.Namespace, target.Name, options.Request, Context(http, user, "", [], options.DryRun));
                if (isGone && kind.Key != new ResourceKey("", "pods"))
                {
                    var details = new JsonObject { ["name"] = target.Name };
                    if (kind.Group.Length > 0)
                    {
                        details["group"] = kind.Group;
                    }

                    details["kind"] = kind.Plural;
                    details["uid"] = gone.Text("metadata", "uid");
                    await AnswerAsync(
                        http,
                        new JsonObject
                        {
                            ["kind"] = "Status", ["apiVersion"] = "v1", ["metadata"] = new JsonObject(), ["status"] = "Success",
                            ["details"] = details
                        },
                        200);
                }
                else
                {
                    await AnswerAsync(http, kind, gone, 200);
                }

                break;
            case "deletecollection":
                var all = await ReadDeleteAsync(http, stop);
                var selector = Selector.Parse(http.Request.Query["labelSelector"], http.Request.Query["fieldSelector"], kind);
                var list = _service.List(kind, target.Namespace, selector, null, null, null, null);
                foreach (var item in list.Items("items"))
                {
                    _service.Delete(
                        kind,
                        item.Text("metadata", "namespace") ?? "",
                        item.Text("metadata", "name")!,
                        all.Request,
                        Context(http, user, "", [], all.DryRun));
                }

                await AnswerAsync(http, list, 200);
                break;
            default:
                throw ApiException.MethodNotAllowed();
        }
    }

    private static void RequireNoName(Target target)
    {
        if (target.Name.Length > 0)
        {
            throw ApiException.MethodNotAllowed();
        }
    }

    private async Task ListAsync(HttpContext http, ResourceDefinition kind, Target target, CancellationToken stop)
    {
        if (kind.IsReview)
        {
            throw ApiException.MethodNotAllowed();
        }

        var query = http.Request.Query;
        if (kind.Namespaced && target.Namespace.Length == 0 && target.Name.Length > 0)
        {
            throw ApiException.NoSuchResource();
        }

        var selector = Selector.Parse(query["labelSelector"], query["fieldSelector"], kind);
        long? limit = long.TryParse(query["limit"], CultureInfo.InvariantCulture, out var l) ? l : null;
        if (Tables.Wanted(http.Request) is { } policy)
        {
            var list = _service.List(
                kind, target.Namespace, selector, limit, query["continue"], query["resourceVersion"], query["resourceVersionMatch"]);
            await AnswerAsync(http, Tables.Of(kind, list, policy, cluster.Clock.GetUtcNow()), 200);
            return;
        }

        // Written straight from the stored bytes: lists of thousands of objects are the rule in load tests.
        using var buffer = new MemoryStream();
        var kept = new List<JsonObject>();
        var metadata = _service.List(kind, target.Namespace, selector, limit, query["continue"], query["resourceVersion"], query["resourceVersionMatch"], o =>
        {
            kept.Add(o);
            return null;
        });
        metadata.Remove("items");
        var head = metadata.ToJsonString(Json.Options);
        buffer.Write(Encoding.UTF8.GetBytes(head[..^1]));
        buffer.Write(",\"items\":["u8);
        for (var i = 0; i < kept.Count; i++)
        {
            if (i > 0)
            {
                buffer.WriteByte((byte)',');
            }

            buffer.Write(Encoding.UTF8.GetBytes(kept[i].ToJsonString(Json.Options)));
        }

        buffer.Write("]}"u8);
        http.Response.ContentType = "application/json";
        http.Response.ContentLength = buffer.Length;
        buffer.Position = 0;
        await buffer.CopyToAsync(http.Response.Body, stop);
    }

    private async Task PatchAsync(HttpContext http, ResourceDefinition kind, Target target, UserInfo user, CancellationToken stop)
    {
        var type = (http.Request.ContentType ?? "").Split(';')[0].Trim();
        var bytes = await ReadBytesAsync(http, stop);
        var duplicates = new List<string>();
        var patch = Json.Parse(bytes, yaml: type == "application/apply-patch+yaml" && !LooksLikeJson(bytes), duplicates);
        var query = http.Request.Query;
        if (type == "application/apply-patch+yaml" && string.IsNullOrEmpty(query["fieldManager"]))
        {
            throw ApiException.Invalid(
                "meta.k8s.io", "PatchOptions", "", [FieldError.Required("fieldManager", "is required for apply patch")]);
        }

        if (type != "application/apply-patch+yaml" && Flag(http.Request, "force"))
        {
            throw ApiException.Invalid(
                "meta.k8s.io", "PatchOptions", "", [FieldError.Forbidden("force", "may not be specified for non-apply patch")]);
        }

        var context = Context(http, user, target.Subresource, duplicates, null);
        var (result, created) = _service.Patch(kind, target.Namespace, target.Name, type, patch, context);
        await AnswerAsync(http, kind, result, created ? 201 : 200, context);
    }

    private static bool LooksLikeJson(byte[] bytes)
    {
        foreach (var b in bytes)
        {
            if (b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t')
            {
                continue;
            }

            return b is (byte)'{' or (byte)'[';
        }

        return true;
    }

    private static async Task<byte[]> ReadBytesAsync(HttpContext http, CancellationToken stop)
    {
        using var buffer = new MemoryStream();
        await http.Request.Body.CopyToAsync(buffer, stop);
        if (buffer.Length > 3 * 1024 * 1024)
        {
            throw new ApiException(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728");
        }

        return buffer.ToArray();
    }

    /// <summary>The object in the body of a request.</summary>
    public static async Task<JsonObject> ReadObjectAsync(HttpContext http, List<string> duplicates, CancellationToken stop)
    {
        var type = (http.Request.ContentType ?? "application/json").Split(';')[0].Trim();
        if (type == Protobuf.MediaType && Protobuf.Read(await ReadBytesAsync(http, stop)) is { } message)
        {
            return message;
        }

        if (type is not ("application/json" or "application/yaml"))
        {
            throw ApiException.UnsupportedMediaType("application/json, application/yaml");
        }

        var bytes = await ReadBytesAsync(http, stop);
        return Json.Parse(bytes, type == "application/yaml", duplicates) as JsonObject
            ?? throw ApiException.BadRequest("the body is not an object");
    }

    /// <summary>The object in the body of a request, whatever its media type says.</summary>
    public static async Task<JsonObject> ReadObjectAsyncAny(HttpContext http, CancellationToken stop) =>
        Json.Parse(await ReadBytesAsync(http, stop), false) as JsonObject ?? throw ApiException.BadRequest("the body is not an object");

    private static async Task<(JsonObject Body, WriteContext Context)> ReadAsync(
        HttpContext http, UserInfo user, string subresource, CancellationToken stop)
    {
        var duplicates = new List<string>();
        var body = await ReadObjectAsync(http, duplicates, stop);
        return (body, Context(http, user, subresource, duplicates, null));
    }

    private static WriteContext Context(HttpContext http, UserInfo user, string subresource, List<string> duplicates, bool? dryRun)
    {
        var query = http.Request.Query;
        var dry = query["dryRun"].ToString();
        if (dry.Length > 0 && dry != "All")
        {
            throw ApiException.Invalid("meta.k8s.io", "CreateOptions", "", [FieldError.NotSupported("dryRun", dry, ["\"All\""])]);
        }

        var manager = query["fieldManager"].ToString();
        if (manager.Length == 0)
        {
            var agent = http.Request.Headers.UserAgent.ToString();
            manager = agent.Split('/')[0];
            manager = manager.Length == 0 ? "unknown" : manager;
        }

        if (manager.Length > 128)
        {
            throw ApiException.Invalid("meta.k8s.io", "PatchOptions", "", [FieldError.TooLong("fieldManager", 128)]);
        }

        var validation = query["fieldValidation"].ToString();
        if (validation.Length > 0 && validation is not ("Ignore" or "Warn" or "Strict"))
        {
            throw ApiException.Invalid(
                "meta.k8s.io",
                "CreateOptions",
                "",
                [FieldError.NotSupported("fieldValidation", validation, ["\"\"", "\"Ignore\"", "\"Strict\"", "\"Warn\""])]);
        }

        return new WriteContext
        {
            User = user,
            Manager = manager,
            DryRun = dryRun ?? dry == "All",
            FieldValidation = validation.Length == 0 ? "Warn" : validation,
            Subresource = subresource,
            Force = query["force"].ToString() is "true" or "1",
            Duplicates = duplicates,
        };
    }

    private static async Task<(DeleteRequest Request, bool DryRun)> ReadDeleteAsync(HttpContext http, CancellationToken stop)
    {
        var bytes = await ReadBytesAsync(http, stop);
        var body = bytes.Length == 0 ? null : (http.Request.ContentType ?? "")
            .StartsWith(Protobuf.MediaType, StringComparison.Ordinal)
                ? Protobuf.Read(bytes)
                : Json.Parse(bytes, (http.Request.ContentType ?? "").Contains("yaml", StringComparison.Ordinal));
        var query = http.Request.Query;
        var policy = body.Text("propagationPolicy") ?? (query["propagationPolicy"].ToString() is { Length: > 0 } p ? p : null);
        if (policy is not (null or "Foreground" or "Background" or "Orphan"))
        {
            throw ApiException.Invalid(
                "meta.k8s.io",
                "DeleteOptions",
                "",
                [FieldError.NotSupported("propagationPolicy", policy, ["\"Foreground\"", "\"Background\"", "\"Orphan\""])]);
        }

        if (body.Flag("orphanDependents") == true)
        {
            policy ??= "Orphan";
        }

        long? grace = body.Number("gracePeriodSeconds")
            ?? (long.TryParse(query["gracePeriodSeconds"], CultureInfo.InvariantCulture, out var g) ? g : null);
        var dry = body.Items("dryRun").Any(d => d.Text() == "All") || query["dryRun"] == "All";
        return (new DeleteRequest(grace, policy, body.Text("preconditions", "uid"), body.Text("preconditions", "resourceVersion")), dry);
    }

    private Task AnswerAsync(HttpContext http, ResourceDefinition kind, StoredObject stored, int code)
    {
        if (Tables.Wanted(http.Request) is { } policy)
        {
            return AnswerAsync(http, Tables.Of(kind, ResourceService.InVersion(stored, kind), policy, cluster.Clock.GetUtcNow()), code);
        }

        return AnswerAsync(http, Projected(http, ResourceService.InVersion(stored, kind)), code);
    }

    private Task AnswerAsync(HttpContext http, ResourceDefinition kind, JsonObject o, int code, WriteContext? context = null)
    {
        foreach (var warning in context?.Warnings ?? [])
        {
            http.Response.Headers.Append(
                "Warning",
                $"299 - \"{warning.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"");
        }

        if (Tables.Wanted(http.Request) is { } policy)
        {
            return AnswerAsync(http, Tables.Of(kind, o, policy, cluster.Clock.GetUtcNow()), code);
        }

        return AnswerAsync(http, Projected(http, o), code);
    }

    private static JsonObject Projected(HttpContext http, JsonObject o) =>
        http.Request.Headers.Accept.ToString().Contains("as=PartialObjectMetadata;", StringComparison.Ordinal) ? Tables.MetadataOnly(o) : o;

    /// <summary>Answers with an object.</summary>
    public static Task AnswerAsync(HttpContext http, JsonNode o, int code)
    {
        http.Response.StatusCode = code;
        http.Response.ContentType = "application/json";
        var bytes = Encoding.UTF8.GetBytes(o.ToJsonString(Json.Options));
        if (http.Response.Body is not MemoryStream)
        {
            http.Response.ContentLength = bytes.Length;
        }

        return http.Response.Body.WriteAsync(bytes, http.RequestAborted).AsTask();
    }

    private static async Task AnswerAsync(HttpContext http, ApiException e)
    {
        if (http.Response.HasStarted)
        {
            http.Abort();
            return;
        }

        if (e.RetryAfter is { } after)
        {
            http.Response.Headers.RetryAfter = after.ToString(CultureInfo.InvariantCulture);
        }

        if (e.Code == 401)
        {
            http.Response.Headers.WWWAuthenticate = "Bearer";
        }

        try
        {
            if (e is { Code: 404, Reason: "" })
            {
                // A path that nobody serves: no Status, only a line of text.
                http.Response.StatusCode = 404;
                http.Response.ContentType = "text/plain; charset=utf-8";
                await http.Response.WriteAsync(e.Message, http.RequestAborted);
                return;
            }

            await AnswerAsync(http, e.ToStatus(), e.Code);
        }
        catch (OperationCanceledException)
        {
            // The client has gone; there is nobody to tell.
            http.Abort();
        }
    }
}
