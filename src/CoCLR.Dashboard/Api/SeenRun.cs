// Why this exists: what may not be seen is, to whoever asks, not there.
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Api;

/// <summary>Lets a request pass that names a run which its sender may see; runs of others are as if they were not.</summary>
internal sealed class SeenRun(RunStore store) : IEndpointFilter
{
    public async ValueTask<object?> InvokeAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        HttpContext http = context.HttpContext;
        string run = http.GetRouteValue("run") as string ?? "";
        if (store.Find(run) is not { } info || !Access.MaySee(http.User, info))
        {
            return Problems.Missing($"run '{run}'");
        }

        http.Items[typeof(SeenRun)] = info;
        return await next(context);
    }

    /// <summary>The run of a request that passed.</summary>
    public static RunInfo Of(HttpContext context) => (RunInfo)context.Items[typeof(SeenRun)]!;
}
