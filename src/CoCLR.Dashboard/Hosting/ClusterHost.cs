// Why this exists: acts on the cluster for a person: the API server is asked whether that person may, before the dashboard does it with its
// own account.
using System.Net;
using System.Security.Claims;
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Cluster;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using CoCLR.Runs;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Hosting;

/// <summary>Experiments as resources of the cluster.</summary>
internal sealed class ClusterHost(ApiClient api, ClusterWatch watch, IOptions<DashboardOptions> options)
{
    private const string FieldManager = "fieldManager=coclr-dashboard";

    /// <summary>Namespaces in which a person may look; what is known here, when they may see all.</summary>
    public IReadOnlyList<string> NamespacesOf(ClaimsPrincipal user)
    {
        string[] own = [.. user.FindAll(Policies.NamespaceClaim).Select(c => c.Value).Where(v => v.Length > 0)];
        return own.Length > 0 ? own
            : options.Value.Cluster.Namespaces is { Length: > 0 } watched ? watched
            : [.. watch.Experiments.Select(e => e.Namespace).Append("default").Distinct().Order(StringComparer.Ordinal)];
    }

    /// <summary>Makes an experiment.</summary>
    /// <param name="user">The person.</param>
    /// <param name="space">Namespace.</param>
    /// <param name="manifest">YAML.</param>
    /// <param name="cancel">Stops waiting.</param>
    /// <returns>Name of the experiment.</returns>
    /// <exception cref="UserErrorException">The manifest is wrong, the person may not, or the cluster refuses.</exception>
    public async Task<string> ApplyAsync(ClaimsPrincipal user, string space, string manifest, CancellationToken cancel)
    {
        ManifestReading<ExperimentSpec> reading = ManifestReader.ReadExperiment(manifest);
        if (reading.Manifest is not { } known)
        {
            throw new UserErrorException(string.Join("\n", reading.Problems), ExitCodes.BadData);
        }

        if (!RunFolder.IsName(space))
        {
            throw new UserErrorException($"'{space}' is no namespace.", ExitCodes.Usage);
        }

        JsonObject body = ManifestReader.ToJson(manifest);
        body["metadata"]!["namespace"] = space;
        await DoAsync(
            user,
            "create",
            space,
            known.Metadata.Name,
            () => SendAsync(HttpMethod.Post, $"{ResourceKind.Experiment.Path(space)}?{FieldManager}", body, cancel),
            cancel);
        return known.Metadata.Name;
    }

    /// <summary>Suspends after a checkpoint, or goes on.</summary>
    public Task SuspendAsync(ClaimsPrincipal user, ClusterRef experiment, bool suspend, CancellationToken cancel) =>
        PatchAsync(user, experiment, new JsonObject { ["spec"] = new JsonObject { ["suspend"] = suspend } }, cancel);

    /// <summary>Starts a failed experiment again at the stage that failed.</summary>
    public Task RetryAsync(ClaimsPrincipal user, ClusterRef experiment, CancellationToken cancel) =>
        PatchAsync(
            user, experiment,
            new JsonObject { ["metadata"] = new JsonObject { ["annotations"] = new JsonObject { ["coclr.dev/retry"] = Guid.NewGuid().ToString("N")[..8] } } },
            cancel);

    /// <summary>Deletes the experiment with its Jobs and, unless it is kept, its claim.</summary>
    public Task DeleteAsync(ClaimsPrincipal user, ClusterRef experiment, CancellationToken cancel) =>
        DoAsync(user, "delete", experiment.Namespace, experiment.Name, async () =>
        {
            try
            {
                // Its children follow.
                await SendAsync(
                    HttpMethod.Delete,
                    Path(experiment),
                    new JsonObject { ["apiVersion"] = "v1", ["kind"] = "DeleteOptions", ["propagationPolicy"] = "Background" },
                    cancel);
            }
            catch (ApiException e) when (e.Code == HttpStatusCode.NotFound)
            {
                // Somebody else was quicker.
            }
        }, cancel);

    /// <summary>
    /// Who a person is to the cluster: the name and groups that the sign-in gave, or a name made of the token and its role.
    /// </summary>
    public static (string Name, string[] Groups) Subject(ClaimsPrincipal user) =>
        user.FindFirstValue(Policies.ClusterUserClaim) is { Length: > 0 } name
        ? (name, [.. user.FindAll(Policies.ClusterGroupClaim).Select(c => c.Value), "system:authenticated"])
        : (
            $"coclr-dashboard:{user.FindFirstValue(Policies.TokenClaim) ?? user.Identity?.Name ?? "someone"}",
            [$"coclr-dashboard:{(user.MayAdminister() ? Roles.Admin : user.MayEdit() ? Roles.Editor : Roles.Viewer)}"]);

    private static string Path(ClusterRef experiment) => ResourceKind.Experiment.Path(new ObjectKey(experiment.Namespace, experiment.Name));

    private Task PatchAsync(ClaimsPrincipal user, ClusterRef experiment, JsonObject change, CancellationToken cancel) => DoAsync(
        user, "patch", experiment.Namespace, experiment.Name, () =>
            SendAsync(HttpMethod.Patch, $"{Path(experiment)}?{FieldManager}", change, cancel, "application/merge-patch+json"), cancel);

    private async Task SendAsync(HttpMethod method, string path, JsonObject body, CancellationToken cancel, string? contentType = null) =>
        (await api.SendAsync(method, path, body, cancel, contentType)).Dispose();

    private async Task DoAsync(ClaimsPrincipal user, string verb, string space, string name, Func<Task> act, CancellationToken cancel)
    {
        string[] own = [.. user.FindAll(Policies.NamespaceClaim).Select(c => c.Value)];
        if (!user.MayEdit() || (own.Length > 0 && !own.Contains(space)))
        {
            throw new UserErrorException("You may not change experiments of this namespace.", ExitCodes.Usage);
        }

        (string subject, string[] groups) = Subject(user);
        try
        {
            var review = new JsonObject
            {
                ["apiVersion"] = "authorization.k8s.io/v1",
                ["kind"] = "SubjectAccessReview",
                ["spec"] = new JsonObject
                {
                    ["user"] = subject,
                    ["groups"] = new JsonArray([.. groups.Select(g => (JsonNode)g)]),
                    ["resourceAttributes"] = new JsonObject
                    {
                        ["group"] = ApiNames.Group, ["version"] = ApiNames.Version, ["resource"] = "coclrexperiments",
                        ["namespace"] = space, ["name"] = name, ["verb"] = verb
                    },
                },
            };
            using JsonDocument answer =
                await api.SendAsync(HttpMethod.Post, "apis/authorization.k8s.io/v1/subjectaccessreviews", review, cancel);
            if (answer.RootElement.Child("status")?.Flag("allowed") != true)
            {
                throw new UserErrorException(
                    $"The cluster does not let {subject} {verb} coclrexperiments in {space}: ask for a role there (kubectl auth can-i "
                        + $"{verb} coclrexperiments -n {space} --as "
                            + $"{subject}{string.Concat(groups.Where(g => g != "system:authenticated").Select(g => $" --as-group {g}"))}).",
                    ExitCodes.Usage);
            }

            await act();
        }
        catch (ApiException e)
        {
            throw new UserErrorException($"The cluster refuses: {e.ServerMessage}", ExitCodes.Failed, e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or TimeoutException)
        {
            throw new UserErrorException($"The cluster cannot be reached: {(e is TimeoutException ? "it does not answer." : e.Message)} "
                + $"Nothing was changed; try again in a moment.", ExitCodes.Failed, e);
        }
    }
}
