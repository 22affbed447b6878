// Why this exists: puts the dashboard together, for the process and for tests alike.
using CoCLR.Core;
using CoCLR.Dashboard.Api;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Components;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Live;
using CoCLR.Dashboard.Storage;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard;

/// <summary>The application.</summary>
public static class DashboardApp
{
    private static readonly Dictionary<string, string> Switches = new()
    {
        ["--workdir"] = "Dashboard:WorkDir",
        ["--data"] = "Dashboard:DataDir",
        ["--path-base"] = "Dashboard:PathBase",
        ["--coclr"] = "Dashboard:CoclrCommand",
    };

    /// <summary>Builds the application.</summary>
    /// <param name="args">Command line: <c>--workdir DIR --urls URL --data DIR --rebuild</c>, and every setting as <c>--Dashboard:Name
    /// value</c>.</param>
    /// <param name="configure">Changes services; for tests.</param>
    /// <exception cref="UserErrorException">A setting is wrong (exit 78).</exception>
    public static WebApplication Build(string[] args, Action<WebApplicationBuilder>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(args);
        string[] plain = [.. args.SelectMany(Setting)];
        WebApplicationBuilder builder = WebApplication.CreateBuilder(new WebApplicationOptions
        {
            Args = plain,
            ContentRootPath = AppContext.BaseDirectory,
            ApplicationName = typeof(DashboardApp).Assembly.GetName().Name,
        });
        builder.Configuration.AddEnvironmentVariables("COCLR_");
        builder.Configuration.AddCommandLine(plain);
        builder.WebHost.UseStaticWebAssets();
        builder.Logging.AddSimpleConsole(o => o.SingleLine = true);
        builder.Logging.AddFilter("Microsoft", LogLevel.Warning).AddFilter("System", LogLevel.Warning)
            .AddFilter("Microsoft.AspNetCore.DataProtection", LogLevel.Error).AddFilter("Microsoft.AspNetCore.Antiforgery", LogLevel.Error)
            .AddFilter("Microsoft.AspNetCore.SignalR.Internal.DefaultHubDispatcher", LogLevel.Critical);

        DashboardOptions options = builder.Configuration.GetSection(DashboardOptions.Section).Get<DashboardOptions>()
            ?? new DashboardOptions();
        string[] urls = (builder.Configuration["urls"] ?? "http://127.0.0.1:5180").Split(';', StringSplitOptions.RemoveEmptyEntries);
        builder.WebHost.UseUrls(urls);
        AuthenticationMode mode = DashboardOptionsValidator.Validate(options, urls);
        builder.Services.AddSingleton(Options.Create(options));
        builder.Services.AddSingleton(new BoundAddresses(urls));
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = Math.Max(options.Ingest.MaxArtifactBytes, options.Limits.MaxQueryVideoBytes);
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
            kestrel.Limits.MaxConcurrentConnections = 5000;
        });

        var instance = InstanceId.Of(options.ResolvedDataDir);
        DashboardServices.Add(builder.Services, options, instance);
        SessionSetup.Add(builder.Services, options, mode, instance);
        configure?.Invoke(builder);

        WebApplication app = builder.Build();
        Use(app, options);
        Map(app, mode);
        app.Lifetime.ApplicationStarted.Register(() => Announce(app, mode, options));
        return app;
    }

    /// <summary>One of our switches as the setting that it stands for.</summary>
    private static string[] Setting(string argument)
    {
        int equals = argument.IndexOf('=', StringComparison.Ordinal);
        string name = equals < 0 ? argument : argument[..equals];
        return argument == "--rebuild" ? ["--Dashboard:Rebuild=true"]
            : Switches.TryGetValue(name, out string? key) ? ["--" + key + argument[name.Length..]]
            : [argument];
    }

    private static void Use(WebApplication app, DashboardOptions options)
    {
        app.UseForwardedHeaders();
        if (options.PathBase.Length > 0)
        {
            app.UsePathBase(options.PathBase);
        }

        app.UseMiddleware<SecurityHeaders>();
        app.UseWhen(PageRequests.IsPage, pages =>
        {
            pages.UseExceptionHandler(new ExceptionHandlerOptions { ExceptionHandlingPath = "/error", CreateScopeForErrors = true });
            pages.UseStatusCodePagesWithReExecute("/not-found", createScopeForStatusCodePages: true);
        });
        app.UseWhen(c => !PageRequests.IsPage(c), scripts => scripts.UseProblems());
        app.UseRouting();
        app.UseAuthentication();
        app.UseAuthorization();
        app.UseRateLimiter();
        app.UseAntiforgery();
        app.Use((context, next) => app.Services.GetRequiredService<CircuitLimit>().GuardAsync(context, next, PageRequests.IsPage));
    }

    private static void Map(WebApplication app, AuthenticationMode mode)
    {
        app.MapStaticAssets().AllowAnonymous();
        app.MapRazorComponents<App>().AddInteractiveServerRenderMode(o => o.ContentSecurityFrameAncestorsPolicy = null);
        app.MapHub<RunsHub>("/hubs/runs", o => o.ApplicationMaxBufferSize = o.TransportMaxBufferSize = 64 * 1024)
            .RequireAuthorization(Policies.View);
        app.MapRuns();
        app.MapSuites();
        app.MapActions();
        app.MapTokens();
        app.MapIngest();
        app.MapSignIn(mode);
        app.MapOpenApi("/openapi/{documentName}.json").RequireAuthorization(Policies.View);
        app.MapGet(
            "/healthz",
            (RunStore store) => store.Health.ReadOnly is null
                ? Results.Text("ok")
                : Results.Text("read-only", statusCode: StatusCodes.Status503ServiceUnavailable))
            .AllowAnonymous().ExcludeFromDescription();
    }

    private static void Announce(WebApplication app, AuthenticationMode mode, DashboardOptions options)
    {
        foreach (string url in app.Urls)
        {
            string path =
                mode == AuthenticationMode.BrowserToken ? $"/login/link?t={app.Services.GetRequiredService<Tokens>().Browser}" : "/";
            Console.WriteLine($"Dashboard: {url.TrimEnd('/')}{options.PathBase}{path}");
        }
    }
}
