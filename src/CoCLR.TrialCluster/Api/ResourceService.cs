// Why this exists: every write of every kind goes through here, from HTTP or from a built-in controller: decode strictly, default, admit,
// validate, note ownership, swap atomically. Reads of lists live here too.
using System.Collections.Immutable;
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster;

/// <summary>Who asks.</summary>
/// <param name="Name">User name.</param>
/// <param name="Groups">Groups.</param>
/// <param name="Uid">Uid, when known.</param>
public sealed record UserInfo(string Name, IReadOnlyList<string> Groups, string Uid = "")
{
    /// <summary>What else a token says, such as the pod it is bound to.</summary>
    public IReadOnlyDictionary<string, string> Extra { get; init; } = new Dictionary<string, string>();

    /// <summary>The built-in controllers.</summary>
    public static readonly UserInfo System = new("system:kube-controller-manager", ["system:masters", "system:authenticated"]);

    /// <summary>Whether every check is passed.</summary>
    public bool IsMaster => Groups.Contains("system:masters");
}

/// <summary>What comes with a write beside the object.</summary>
public sealed class WriteContext
{
    /// <summary>Who writes.</summary>
    public UserInfo User { get; init; } = UserInfo.System;

    /// <summary>Name for `managedFields`.</summary>
    public string Manager { get; init; } = "kube-controller-manager";

    /// <summary>Everything but the last step.</summary>
    public bool DryRun { get; init; }

    /// <summary>`Strict`, `Warn` or `Ignore`.</summary>
    public string FieldValidation { get; init; } = "Warn";

    /// <summary>Empty, `status` or `scale`.</summary>
    public string Subresource { get; init; } = "";

    /// <summary>Take over fields of others in server-side apply.</summary>
    public bool Force { get; init; }

    /// <summary>Warnings for the client.</summary>
    public List<string> Warnings { get; } = [];

    /// <summary>Keys that stood twice in the body.</summary>
    public List<string> Duplicates { get; init; } = [];
}

/// <summary>How to delete.</summary>
/// <param name="GracePeriodSeconds">Seconds for the pod to end, null for its own setting.</param>
/// <param name="PropagationPolicy">`Foreground`, `Background`, `Orphan` or null.</param>
/// <param name="Uid">Only this incarnation.</param>
/// <param name="ResourceVersion">Only this version.</param>
public sealed record DeleteRequest(
    long? GracePeriodSeconds = null, string? PropagationPolicy = null, string? Uid = null, string? ResourceVersion = null);

/// <summary>The writes and reads of the API.</summary>
public sealed class ResourceService(ObjectStore store, ResourceRegistry registry, TimeProvider clock)
{
    private const string NameAlphabet = "bcdfghjklmnpqrstvwxz2456789";
    private readonly Lock _random = new();
    private readonly Random _names = new(20231101);

    /// <summary>The store.</summary>
    public ObjectStore Store { get; } = store;

    /// <summary>The kinds.</summary>
    public ResourceRegistry Registry { get; } = registry;

    /// <summary>The clock of all controllers.</summary>
    public TimeProvider Clock { get; } = clock;

    /// <summary>Admission steps that may change an object (create and update).</summary>
    public List<Action<AdmissionRequest>> Mutating { get; } = [];

    /// <summary>Admission steps that may refuse an object, called under no lock.</summary>
    public List<Action<AdmissionRequest>> Validating { get; } = [];

    /// <summary>Validation beyond the schema, by kind.</summary>
    public Action<AdmissionRequest, List<FieldError>>? Rules { get; set; }

    /// <summary>The object, or 404.</summary>
    public StoredObject Get(ResourceDefinition kind, string ns, string name) =>
        Store.Get(StorageKey(kind), ns, name) ?? throw ApiException.NotFound(kind.Group, kind.Plural, name);

    /// <summary>The table a kind is kept in.</summary>
    public static ResourceKey StorageKey(ResourceDefinition kind) => BuiltInResources.StorageOf(kind.Key);

    /// <summary>The object as the version asked for says it.</summary>
    public static JsonObject InVersion(StoredObject stored, ResourceDefinition kind)
    {
        if (kind.Key != StorageKey(kind))
        {
            return EventForms.ToEventsGroup(stored.Value);
        }

        if (!kind.IsCustom || stored.Value.Text("apiVersion") == kind.ApiVersion)
        {
            return stored.Value;
        }

        // Versions without conversion: the same fields, seen through the schema of the other version.
        var copy = stored.Value.Copy();
        copy["apiVersion"] = kind.ApiVersion;
        SchemaOperations.Prune(copy, kind.Schema, []);
        SchemaOperations.Default(copy, kind.Schema);
        return copy;
    }

    /// <summary>Creates an object.</summary>
    public JsonObject Create(ResourceDefinition kind, string ns, JsonObject body, WriteContext context)
    {
        var o = Decode(kind, ns, null, body, context);
        var metadata = o.Ensure("metadata");
        if (metadata.Text("resourceVersion") is { Length: > 0 } rv && rv != "0")
        {
            throw ApiException.BadRequest("resourceVersion should not be set on objects to be created");
        }

        return Insert(kind, ns, o, context, () => { });
    }

    private JsonObject Insert(
        ResourceDefinition kind, string ns, JsonObject o, WriteContext context, Action beforeStore, bool applied = false)
    {
        var metadata = o.Ensure("metadata");
        RequireNamespace(kind, ns, metadata.Text("name") ?? "");
        var generated = false;
        if (string.IsNullOrEmpty(metadata.Text("name")))
        {
            if (metadata.Text("generateName") is not { Length: > 0 } prefix)
            {
                throw ApiException.Invalid(
                    kind.Group, kind.Kind, "", [FieldError.Required("metadata.name", "name or generateName is required")]);
            }

            metadata["name"] = (prefix.Length > 58 ? prefix[..58] : prefix) + RandomSuffix();
            generated = true;
        }

        foreach (var system in new[] { "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink", "resourceVersion" })
        {
            metadata.Remove(system);
        }

        if (!applied)
        {
            metadata.Remove("managedFields");
        }

        if (kind.Namespaced)
        {
            metadata["namespace"] = ns;
        }

        if (kind.HasStatus)
        {
            o.Remove("status");
        }

        var now = Clock.GetUtcNow();
        metadata["uid"] = Guid.NewGuid().ToString();
        metadata["creationTimestamp"] = Json.Time(now);
        if (kind.HasGeneration)
        {
            metadata["generation"] = 1;
        }

        SchemaOperations.Default(o, kind.Schema);
        BuiltInDefaults.Apply(kind, o, null);
        var request = new AdmissionRequest(this, kind, ns, null, o, context);
        foreach (var step in Mutating)
        {
            step(request);
        }

        Check(request);
        if (!applied)
        {
            FieldManager.Track(null, o, kind, context.Manager, context.Subresource, now);
        }

        var key = StorageKey(kind);
        var name = metadata.Text("name")!;
        var stored = kind.Key == key ? o : EventForms.ToCore(o);
        if (Store.Get(key, ns, name) is not null)
        {
            throw ApiException.AlreadyExists(kind.Group, kind.Plural, name);
        }

        if (context.DryRun)
        {
            Order(o);
            return o;
        }

        beforeStore();
        Order(stored);
        if (Store.TrySwap(key, null, stored) is not { } result)
        {
            if (generated)
            {
                metadata["name"] = "";
                metadata.Remove("managedFields");
                return Insert(kind, ns, o, context, beforeStore, applied);
            }

            throw ApiException.AlreadyExists(kind.Group, kind.Plural, name);
        }

        return InVersion(result, kind);
    }

    private static void Order(JsonObject o)
    {
        // Clients print objects as they come: apiVersion, kind, metadata, the rest, status last.
        foreach (var name in new[] { "metadata", "kind", "apiVersion" })
        {
            if (o.TryGetPropertyValue(name, out var value) && o.IndexOf(name) != 0)
            {
                o.Remove(name);
                o.Insert(0, name, value);
            }
        }

        if (o.TryGetPropertyValue("status", out var status) && o.IndexOf("status") != o.Count - 1)
        {
            o.Remove("status");
            o["status"] = status;
        }
    }

    private void RequireNamespace(ResourceDefinition kind, string ns, string name)
    {
        if (!kind.Namespaced)
        {
            return;
        }

        var found = Store.Get(new ResourceKey("", "namespaces"), "", ns) ?? throw ApiException.NotFound("", "namespaces", ns);
        if (found.Value.At("metadata", "deletionTimestamp") is not null)
        {
            var error = ApiException.Forbidden(
                kind.Group, kind.Plural, name, $"unable to create new content in namespace {ns} because it is being terminated");
            var details = error.Details!.Copy();
            details["causes"] = new JsonArray(
                new JsonObject
                {
                    ["reason"] = "NamespaceTerminating", ["message"] = $"namespace {ns} is being terminated",
                    ["field"] = "metadata.namespace"
                });
            throw new ApiException(403, "Forbidden", error.Message, details);
        }
    }

    /// <summary>Five characters that never spell a word.</summary>
    public string RandomSuffix()
    {
        lock (_random)
        {
            return string.Create(5, _names, (span, random) =>
            {
                for (var i = 0; i < span.Length; i++)
                {
                    span[i] = NameAlphabet[random.Next(NameAlphabet.Length)];
                }
            });
        }
    }

    private static JsonObject Decode(ResourceDefinition kind, string ns, string? name, JsonObject body, WriteContext context)
    {
        var apiVersion = body.Text("apiVersion");
        var bodyKind = body.Text("kind");
        if (string.IsNullOrEmpty(apiVersion) && kind.IsCustom)
        {
            throw ApiException.BadRequest($"Object 'apiVersion' is missing in '{Short(body)}'");
        }

        if (string.IsNullOrEmpty(bodyKind) && kind.IsCustom)
        {
            throw ApiException.BadRequest($"Object 'Kind' is missing in '{Short(body)}'");
        }

        if ((bodyKind is not null && bodyKind != kind.Kind) || (apiVersion is not null && apiVersion != kind.ApiVersion))
        {
            throw ApiException.BadRequest($"{bodyKind} in version \"{apiVersion}\" cannot be handled as a {kind.Kind}: the API version in "
                + $"the data ({apiVersion}) does not match the expected API version ({kind.ApiVersion})");
        }

        var o = body.Copy();
        o["apiVersion"] = kind.ApiVersion;
        o["kind"] = kind.Kind;
        if (o.TryGetPropertyValue("metadata", out var meta) && meta is not JsonObject && meta is not null)
        {
            throw ApiException.BadRequest("metadata must be an object");
        }

        var metadata = o.Ensure("metadata");
        if (metadata.Text("namespace") is { Length: > 0 } bodyNamespace && bodyNamespace != ns && kind.Namespaced)
        {
            throw ApiException.BadRequest($"the namespace of the provided object does not match the namespace sent on the request");
        }

        if (!kind.Namespaced)
        {
            metadata.Remove("namespace");
        }

        if (name is not null)
        {
            if (metadata.Text("name") is { Length: > 0 } bodyName && bodyName != name)
            {
                throw ApiException.BadRequest($"the name of the object ({bodyName}) does not match the name on the URL ({name})");
            }

            metadata["name"] = name;
        }

        if (SchemaOperations.DecodeError(metadata, BuiltInSchemas.Of(typeof(k8s.Models.V1ObjectMeta)), "ObjectMeta", "metadata") is { } metaError)
        {
            throw ApiException.BadRequest($"{kind.Kind} in version \"{kind.Version}\" cannot be handled as a {kind.Kind}: {metaError}");
        }

        var unknown = new List<string>();
        if (kind.IsCustom)
        {
            SchemaOperations.DropNulls(o, kind.Schema);
        }
        else
        {
            if (SchemaOperations.DecodeError(o, kind.Schema, kind.Kind) is { } error)
            {
                throw ApiException.BadRequest($"{kind.Kind} in version \"{kind.Version}\" cannot be handled as a {kind.Kind}: {error}");
            }

            SchemaOperations.DropNulls(o, kind.Schema);
        }

        SchemaOperations.Prune(o, kind.Schema, unknown);
        var problems = unknown.Select(u => $"unknown field \"{u}\"").Concat(context.Duplicates.Select(d => $"duplicate field \"{d}\""))
            .ToList();
        if (problems.Count > 0)
        {
            if (context.FieldValidation == "Strict")
            {
                throw ApiException.BadRequest(
                    $"{(kind.IsCustom ? "" : $"{kind.Kind} in version \"{kind.Version}\" cannot be handled as a {kind.Kind}: ")}strict "
                        + $"decoding error: {string.Join(", ", problems)}");
            }

            if (context.FieldValidation == "Warn")
            {
                context.Warnings.AddRange(problems);
            }
        }

        return o;
    }

    private static string Short(JsonObject body)
    {
        var text = body.ToJsonString(Json.Options);
        return text.Length > 200 ? text[..200] + "..." : text;
    }

    private void Check(AdmissionRequest request)
    {
        var errors = new List<FieldError>();
        ObjectMetaRules.Validate(request, errors);
        if (request.Kind.IsCustom)
        {
            CustomResourceRules.Validate(request, errors);
        }
        else
        {
            SchemaOperations.Validate(request.Object, request.Kind.Schema, "", errors, true);
        }

        if (errors.Count == 0 || !request.Kind.IsCustom)
        {
            Rules?.Invoke(request, errors);
        }

        if (errors.Count > 0)
        {
            throw ApiException.Invalid(request.Kind.Group, request.Kind.Kind, request.Object.Text("metadata", "name") ?? "", errors);
        }

        foreach (var step in Validating)
        {
            step(request);
        }
    }

    /// <summary>Replaces an object (or its status).</summary>
    public JsonObject Update(ResourceDefinition kind, string ns, string name, JsonObject body, WriteContext context)
    {
        for (var attempt = 0; ; attempt++)
        {
            var existing = Get(kind, ns, name);
            var result = TryReplace(kind, ns, existing, body, context, null);
            if (result is not null)
            {
                return result;
            }

            if (body.Text("metadata", "resourceVersion") is { Length: > 0 } || attempt > 5)
            {
                throw ApiException.Conflict(kind.Group, kind.Plural, name, ApiException.Modified);
            }
        }
    }

    /// <summary>Patches an object (or its status); server-side apply creates it when it is not there.</summary>
    public (JsonObject Object, bool Created) Patch(
        ResourceDefinition kind, string ns, string name, string type, JsonNode? patch, WriteContext context)
    {
        for (var attempt = 0; ; attempt++)
        {
            var existing = Store.Get(StorageKey(kind), ns, name);
            var apply = type == "application/apply-patch+yaml";
            if (existing is null && (!apply || context.Subresource.Length > 0))
            {
                throw ApiException.NotFound(kind.Group, kind.Plural, name);
            }

            var now = Clock.GetUtcNow();
            var live = existing is null ? null : InVersion(existing, kind);
            JsonObject next;
            switch (type)
            {
                case "application/json-patch+json":
                    next = Patches.JsonPatch(live!, patch);
                    break;
                case "application/merge-patch+json":
                    next = Patches.MergePatch(
                        live, patch as JsonObject ?? throw ApiException.BadRequest("the merge patch is not an object")) as JsonObject ?? [];
                    break;
                case "application/strategic-merge-patch+json":
                    if (kind.IsCustom)
                    {
                        throw ApiException.UnsupportedMediaType(
                            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
                    }

                    next = Patches.StrategicMergePatch(
                        live!,
                        patch as JsonObject ?? throw ApiException.BadRequest("the strategic merge patch is not an object"),
                        kind.Schema);
                    break;
                case "application/apply-patch+yaml":
                    var config = patch as JsonObject ?? throw ApiException.BadRequest("the applied configuration is not an object");
                    if (config.Text("apiVersion") is not { Length: > 0 } || config.Text("kind") is not { Length: > 0 })
                    {
                        throw ApiException.BadRequest("error decoding YAML: Object 'Kind' is missing");
                    }

                    if (config.At("metadata", "managedFields") is JsonArray { Count: > 0 })
                    {
                        throw ApiException.BadRequest("metadata.managedFields must be nil");
                    }

                    TypedCheck.Check(kind, config);
                    config = Decode(kind, ns, name, config, context);
                    if (config.Text("metadata", "uid") is { } wantedUid && live is null)
                    {
                        throw ApiException.Conflict(
                            kind.Group,
                            kind.Plural,
                            name,
                            $"uid mismatch: the provided object specified uid {wantedUid}, and no existing object was found");
                    }

                    if (config.Text("metadata", "resourceVersion") is { Length: > 0 } applyRv
                        && applyRv != live.Text("metadata", "resourceVersion"))
                    {
                        throw ApiException.Conflict(kind.Group, kind.Plural, name, ApiException.Modified);
                    }

                    next = FieldManager.Apply(live, config, kind, context.Manager, context.Subresource, context.Force, now);
                    if (existing is null)
                    {
                        return (Insert(kind, ns, next, context, () => { }, applied: true), true);
                    }

                    break;
                default:
                    throw ApiException.UnsupportedMediaType("application/json-patch+json, application/merge-patch+json, "
                        + "application/strategic-merge-patch+json, application/apply-patch+yaml");
            }

            var result = TryReplace(
                kind, ns, existing!, next, context, apply ? next.At("metadata", "managedFields")?.DeepClone() : null, apply, patched: true);
            if (result is not null)
            {
                return (result, false);
            }

            if (attempt > 5)
            {
                throw ApiException.Conflict(kind.Group, kind.Plural, name, ApiException.Modified);
            }
        }
    }

    private JsonObject? TryReplace(
        ResourceDefinition kind,
        string ns,
        StoredObject existing,
        JsonObject body,
        WriteContext context,
        JsonNode? managed,
        bool applied = false,
        bool patched = false)
    {
        var name = existing.Name;
        var old = InVersion(existing, kind);
        var decoded = Decode(kind, ns, name, body, applied ? new WriteContext { FieldValidation = "Ignore" } : context);
        var metadata = decoded.Ensure("metadata");
        if (metadata.Text("resourceVersion") is { Length: > 0 } rv)
        {
            if (rv != old.Text("metadata", "resourceVersion"))
            {
                throw ApiException.Conflict(kind.Group, kind.Plural, name, ApiException.Modified);
            }
        }
        else if (kind.IsCustom || kind.Plural is "leases" or "customresourcedefinitions" or "poddisruptionbudgets")
        {
            throw ApiException.Invalid(
                kind.Group, kind.Kind, name, [FieldError.Invalid("metadata.resourceVersion", 0, "must be specified for an update")]);
        }

        if (metadata.Text("uid") is { Length: > 0 } uid && uid != existing.Uid
            && !(patched && kind.IsCustom && context.Subresource == "status"))
        {
            // A patch is no precondition, and the metadata of a custom resource's status is not looked at.
            throw patched
                ? ApiException.Invalid(kind.Group, kind.Kind, name, [FieldError.Invalid("metadata.uid", uid, "field is immutable")])
                : ApiException.Conflict(
                    kind.Group, kind.Plural, name, $"Precondition failed: UID in precondition: {uid}, UID in object meta: {existing.Uid}");
        }

        if (context.Subresource == "status")
        {
            var onlyStatus = old.Copy();
            onlyStatus.Remove("status");
            if (decoded.TryGetPropertyValue("status", out var status))
            {
                onlyStatus["status"] = status?.DeepClone();
            }

            if (decoded.At("metadata", "managedFields") is { } managedFields)
            {
                onlyStatus.Ensure("metadata")["managedFields"] = managedFields.DeepClone();
            }

            decoded = onlyStatus;
            metadata = decoded.Ensure("metadata");
        }
        else if (kind.HasStatus)
        {
            decoded.Remove("status");
            if (old.TryGetPropertyValue("status", out var status))
            {
                decoded["status"] = status?.DeepClone();
            }
        }

        foreach (var system in new[] { "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink", "name", "namespace", "resourceVersion" })
        {
            metadata.Remove(system);
            if (old.At("metadata", system) is { } value)
            {
                metadata[system] = value.DeepClone();
            }
        }

        if (old.At("metadata", "deletionTimestamp") is not null)
        {
            var added = metadata.Items("finalizers").Where(f => !old.Items("metadata", "finalizers").Any(e => Json.Same(e, f))).ToList();
            if (added.Count > 0)
            {
                throw ApiException.Invalid(
                    kind.Group,
                    kind.Kind,
                    name,
                    [
                        FieldError.Forbidden(
                            "metadata.finalizers",
                            "no new finalizers can be added if the object is being deleted, found new finalizers "
                                + string.Join(", ", added.Select(a => a!.ToJsonString())))]);
            }
        }

        SchemaOperations.Default(decoded, kind.Schema);
        BuiltInDefaults.Apply(kind, decoded, old);
        var request = new AdmissionRequest(this, kind, ns, old, decoded, context);
        foreach (var step in Mutating)
        {
            step(request);
        }

        if (kind.HasGeneration && SpecChanged(old, decoded))
        {
            metadata["generation"] = (old.Number("metadata", "generation") ?? 0) + 1;
        }

        var now = Clock.GetUtcNow();
        if (managed is not null)
        {
            metadata["managedFields"] = managed;
        }
        else
        {
            FieldManager.Track(old, decoded, kind, context.Manager, context.Subresource, now);
        }

        Check(request);
        var gone = metadata.At("deletionTimestamp") is not null && metadata.Items("finalizers").Count == 0
            && (metadata.Number("deletionGracePeriodSeconds") ?? 0) == 0
            && kind.Plural != "namespaces";
        if (context.DryRun)
        {
            return decoded;
        }

        if (!gone && OnlyTimesDiffer(old, decoded))
        {
            return old;
        }

        Order(decoded);
        var key = StorageKey(kind);
        var stored = kind.Key == key ? decoded : EventForms.ToCore(decoded);
        var written = Store.TrySwap(key, existing, stored);
        if (written is null)
        {
            return null;
        }

        if (gone)
        {
            Store.TrySwap(key, written, null);
        }

        return InVersion(written, kind);
    }

    private static bool OnlyTimesDiffer(JsonObject old, JsonObject next)
    {
        if (Json.Same(old, next))
        {
            return true;
        }

        // A write that changes nothing but the times of its own ownership is no write.
        var a = WithoutTimes(old);
        var b = WithoutTimes(next);
        return Json.Same(a, b);

        static JsonObject WithoutTimes(JsonObject o)
        {
            var copy = o.Copy();
            foreach (var entry in copy.Items("metadata", "managedFields").OfType<JsonObject>())
            {
                entry.Remove("time");
            }

            return copy;
        }
    }

    private static bool SpecChanged(JsonObject old, JsonObject next)
    {
        static JsonObject Intent(JsonObject o)
        {
            var copy = new JsonObject();
            foreach (var (name, value) in o)
            {
                if (name is not ("metadata" or "status"))
                {
                    copy[name] = value?.DeepClone();
                }
            }

            return copy;
        }

        return !Json.Same(Intent(old), Intent(next));
    }

    /// <summary>Deletes an object, or marks it as being deleted; the second value says whether it is gone.</summary>
    public (JsonObject Object, bool Gone) Delete(
        ResourceDefinition kind, string ns, string name, DeleteRequest options, WriteContext context)
    {
        while (true)
        {
            var existing = Get(kind, ns, name);
            if (options.Uid is { } uid && uid != existing.Uid)
            {
                throw ApiException.Conflict(kind.Group, kind.Kind, name, $"the UID in the precondition ({uid}) does not match the UID in "
                    + $"record ({existing.Uid}). The object might have been deleted and then recreated");
            }

            if (options.ResourceVersion is { } rv && rv != existing.Value.Text("metadata", "resourceVersion"))
            {
                throw ApiException.Conflict(kind.Group, kind.Plural, name, $"Precondition failed: ResourceVersion in precondition: {rv}, "
                    + $"ResourceVersion in object meta: {existing.Value.Text("metadata", "resourceVersion")}");
            }

            var next = existing.Value.Copy();
            var metadata = next.Ensure("metadata");
            var finalizers = metadata.EnsureItems("finalizers");
            void Finalizer(string value, bool wanted)
            {
                var at = finalizers.ToList().FindIndex(f => f!.GetValue<string>() == value);
                if (wanted && at < 0)
                {
                    finalizers.Add(value);
                }
                else if (!wanted && at >= 0)
                {
                    finalizers.RemoveAt(at);
                }
            }

            if (options.PropagationPolicy is { } policy)
            {
                Finalizer("foregroundDeletion", policy == "Foreground");
                Finalizer("orphan", policy == "Orphan");
            }

            var grace = GraceOf(kind, existing.Value, options);
            var already = metadata.At("deletionTimestamp") is not null;
            if (already && grace >= (metadata.Number("deletionGracePeriodSeconds") ?? 0)
                && (finalizers.Count > 0 || (metadata.Number("deletionGracePeriodSeconds") ?? 0) > 0) && grace > 0)
            {
                return (existing.Value, false);
            }

            if (finalizers.Count == 0)
            {
                metadata.Remove("finalizers");
            }

            var isNamespace = kind.Key == new ResourceKey("", "namespaces");
            if (finalizers.Count == 0 && grace == 0 && !isNamespace)
            {
                if (context.DryRun || Store.TrySwap(StorageKey(kind), existing, null) is not null)
                {
                    return (existing.Value, true);
                }

                continue;
            }

            var now = Clock.GetUtcNow();
            if (!already || grace < (metadata.Number("deletionGracePeriodSeconds") ?? 0))
            {
                metadata["deletionTimestamp"] = Json.Time(now.AddSeconds(grace));
                metadata["deletionGracePeriodSeconds"] = grace;
                if (kind.HasGeneration && !already)
                {
                    metadata["generation"] = (metadata.Number("generation") ?? 0) + 1;
                }
            }

            if (isNamespace)
            {
                next.Ensure("status")["phase"] = "Terminating";
            }

            if (context.DryRun || Json.Same(next, existing.Value))
            {
                return (next, false);
            }

            if (Store.TrySwap(StorageKey(kind), existing, next) is { } stored)
            {
                return (stored.Value, false);
            }
        }
    }

    private static long GraceOf(ResourceDefinition kind, JsonObject o, DeleteRequest options)
    {
        if (kind.Key != new ResourceKey("", "pods"))
        {
            return 0;
        }

        // A pod no kubelet knows, or that already ended, has nothing to wait for.
        if (string.IsNullOrEmpty(o.Text("spec", "nodeName")) || o.Text("status", "phase") is "Succeeded" or "Failed")
        {
            return 0;
        }

        return options.GracePeriodSeconds ?? o.Number("spec", "terminationGracePeriodSeconds") ?? 30;
    }

    /// <summary>A list, in pages where asked for.</summary>
    public JsonObject List(
        ResourceDefinition kind,
        string ns,
        Selector selector,
        long? limit,
        string? token,
        string? resourceVersion,
        string? match,
        Func<JsonObject,
        JsonNode?>? form = null)
    {
        var key = StorageKey(kind);
        ImmutableSortedDictionary<string, StoredObject> objects;
        long revision;
        string? after = null;
        if (!string.IsNullOrEmpty(token))
        {
            (revision, after) = ReadToken(token);
            objects = Store.Pages(key, revision)
                ?? throw ApiException.Expired(
                    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the "
                        + "continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
                            + "Continuing with the provided token results in an inconsistent list - objects that were created, modified, "
                                + "or deleted between the time the first chunk was returned and now may show up in the list.");
        }
        else
        {
            (objects, revision) = Store.Snapshot(key);
            if (!string.IsNullOrEmpty(resourceVersion) && resourceVersion != "0")
            {
                if (!long.TryParse(resourceVersion, System.Globalization.CultureInfo.InvariantCulture, out var wanted))
                {
                    throw ApiException.BadVersion(resourceVersion);
                }

                if (wanted > revision)
                {
                    throw new ApiException(504, "Timeout", $"Timeout: Too large resource version: {wanted}, current: {revision}",
                        new JsonObject
                        {
                            ["causes"] = new JsonArray(
                                new JsonObject { ["reason"] = "ResourceVersionTooLarge", ["message"] = "Too large resource version" }),
                            ["retryAfterSeconds"] = 1
                        },
                        1);
                }

                if (match == "Exact" && wanted != revision)
                {
                    objects = Store.Pages(key, wanted)
                        ?? throw ApiException.Expired($"The resourceVersion for the provided list is too old.");
                    revision = wanted;
                }
            }
        }

        var items = new JsonArray();
        string? last = null;
        var more = 0L;
        foreach (var (path, stored) in objects)
        {
            if (after is not null && string.CompareOrdinal(path, after) <= 0)
            {
                continue;
            }

            if (ns.Length > 0 && stored.Namespace != ns)
            {
                continue;
            }

            var value = InVersion(stored, kind);
            if (!selector.Matches(value))
            {
                continue;
            }

            if (limit > 0 && items.Count >= limit)
            {
                more++;
                continue;
            }

            items.Add(form is null ? value.DeepClone() : form(value));
            last = path;
        }

        var metadata = new JsonObject { ["resourceVersion"] = revision.ToString(System.Globalization.CultureInfo.InvariantCulture) };
        if (more > 0)
        {
            Store.KeepPages(key, revision, objects);
            metadata["continue"] = WriteToken(revision, last!);
            if (selector.IsEmpty)
            {
                metadata["remainingItemCount"] = more;
            }
        }

        return new JsonObject { ["kind"] = kind.ListKind, ["apiVersion"] = kind.ApiVersion, ["metadata"] = metadata, ["items"] = items };
    }

    private static string WriteToken(long revision, string last) =>
        Convert.ToBase64String(
            System.Text.Encoding.UTF8.GetBytes(
                new JsonObject { ["v"] = "meta.k8s.io/v1", ["rv"] = revision, ["start"] = last }.ToJsonString()));

    private static (long Revision, string After) ReadToken(string token)
    {
        try
        {
            var o = JsonNode.Parse(Convert.FromBase64String(token));
            return (o.Number("rv") ?? 0, o.Text("start") ?? "");
        }
        catch (Exception e) when (e is FormatException or System.Text.Json.JsonException)
        {
            throw ApiException.BadRequest("invalid continue token: continue key is not valid: " + e.Message);
        }
    }
}

/// <summary>One write on its way to the store.</summary>
/// <param name="Service">The service.</param>
/// <param name="Kind">Its kind.</param>
/// <param name="Namespace">Its namespace, or empty.</param>
/// <param name="Old">The object before, null on creation.</param>
/// <param name="Object">The object to be; mutating steps change it.</param>
/// <param name="Context">Who and how.</param>
public sealed record AdmissionRequest(
    ResourceService Service, ResourceDefinition Kind, string Namespace, JsonObject? Old, JsonObject Object, WriteContext Context)
{
    /// <summary>Whether it is about the core resource of that name.</summary>
    public bool Is(string group, string plural) => Kind.Group == group && Kind.Plural == plural;
}
