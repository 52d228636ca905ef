export default { name: "Monitoring", template: `<section class="page"></section>` };
